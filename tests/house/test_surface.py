"""The public names: those of the contract, and no others by accident."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import rapyer_codecs
import rapyer_core
import rapyer_core.sync

_WORDS = """
    AtomicRedisModel Index Key Packed Codec Alias redis_model paths ref pk_of evolve register_codec
    init_rapyer close_rapyer open_session
    save insert get get_many get_or_create reload exists delete save_many delete_many
    assign increment modify append extend insert_at pop remove clear put merge add discard
    pipeline transaction transact lock Retry
    find find_one count iterate top rank explain verify not_ in_ contains is_none asc desc some
    RapyerError NotFound AlreadyExists Conflict OutcomeUnknown NotApplied LockLost LockTimeout PoolTimeout DecodeError
    UnsupportedType ConstraintError WrongKeyType LimitExceeded CrossSlot ConnectionFailed SessionClosed
"""
CONTRACT = _WORDS.split()

BUILTIN_PARENTS = {
    "NotFound": LookupError,
    "LockTimeout": TimeoutError,
    "PoolTimeout": TimeoutError,
    "DecodeError": ValueError,
    "UnsupportedType": TypeError,
    "ConstraintError": ValueError,
    "ConnectionFailed": ConnectionError,
}


@pytest.mark.parametrize("module", [rapyer_core, rapyer_core.sync], ids=lambda module: module.__name__)
def test_every_name_of_the_contract_is_public(module: ModuleType) -> None:
    assert set(CONTRACT) <= set(module.__all__)


@pytest.mark.parametrize("module", [rapyer_core, rapyer_core.sync, rapyer_codecs], ids=lambda module: module.__name__)
def test_all_lists_what_is_public_and_nothing_else(module: ModuleType) -> None:
    found = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert sorted(module.__all__) == sorted(found)


def test_both_modules_have_the_same_names() -> None:
    assert sorted(rapyer_core.__all__) == sorted(rapyer_core.sync.__all__)


def test_errors_have_one_root_and_the_python_parents_of_the_contract() -> None:
    errors = [
        value for value in vars(rapyer_core).values() if isinstance(value, type) and issubclass(value, BaseException)
    ]
    assert all(issubclass(error, rapyer_core.RapyerError) for error in errors)
    for name, parent in BUILTIN_PARENTS.items():
        assert issubclass(getattr(rapyer_core, name), parent)


def test_every_public_function_and_class_is_documented() -> None:
    undocumented = [
        name
        for name in rapyer_core.__all__
        if not inspect.getdoc(getattr(rapyer_core, name)) and name not in ("Key", "Index", "Packed")
    ]
    assert undocumented == []
