"""The JSON text of packed values: canonical, strict, bounded. What the trees mean is up to the shapes."""

from __future__ import annotations

import json
import re
from typing import Any

from .errors import LimitExceeded
from .limits import Limits

__all__ = ["dump_json", "load_json"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode


def dump_json(tree: Any) -> bytes:
    """The one text of a tree, as UTF-8."""
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", _encode(tree)).encode()


def load_json(raw: bytes, limits: Limits) -> Any:
    """The tree of a text. ValueError unless it is exactly what `dump_json` writes; LimitExceeded if nested
    too deeply.
    """
    # One level of a value can have up to four of brackets: tags of a union, of a subclass, of a bound.
    if _is_deeper(raw, 4 * limits.depth + 4):
        raise LimitExceeded(f"nested deeper than {limits.depth} levels")
    tree = _decoder.decode(raw.decode())
    if dump_json(tree) != raw:
        raise ValueError("not canonical")
    return tree


def _is_deeper(raw: bytes, most: int) -> bool:
    """Whether brackets may be nested deeper than this; found before anything is parsed, in time linear in the text.

    Innermost pairs are taken away, one level after the other. What is left without a pair (the text is no JSON then)
    counts as if it were nested.
    """
    if raw.count(b"[") + raw.count(b"{") <= most:
        return False
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    for level in range(most):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(brackets) or not inner:
            return level + len(inner) > most
        brackets = inner
    return bool(brackets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("the same key twice")
    return tree


def _constant(_: str) -> Any:
    raise ValueError("not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
