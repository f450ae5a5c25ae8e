"""Dates and times, in ISO 8601. A zone from zoneinfo is kept by its key, a fold by `(fold=1)`; both exactly."""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from ..codec import plain_type
from ..framing import HEADS, framed
from ..shape import Inline

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from ..registry import Registry

__all__ = ["register"]

Moment = TypeVar("Moment", datetime, time)

_SUFFIXED = re.compile(r"([^\[(]*)(?:\[([A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*)\])?(\(fold=1\))?")
_DURATION = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]{6}))?")
_MICROSECOND = timedelta(microseconds=1)


def _suffixes(value: datetime | time) -> str:
    """What ISO 8601 does not say: the zone and the fold."""
    zone = ""
    if _is_zone(value.tzinfo):
        zone = f"[{_zone_key(value.tzinfo)}]"
    elif value.tzinfo is not None and type(value.tzinfo) is not timezone:
        raise TypeError
    return zone + ("(fold=1)" if value.fold else "")


def _is_zone(zone: Any) -> TypeGuard[ZoneInfo]:
    """Without an import: it costs more than the module."""
    zoneinfo = sys.modules.get("zoneinfo")
    return zoneinfo is not None and isinstance(zone, zoneinfo.ZoneInfo)


def _zone(key: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    return ZoneInfo(key)


def _zone_key(zone: ZoneInfo) -> str:
    if not zone.key:
        raise ValueError
    return zone.key


def _split(raw: bytes) -> tuple[str, ZoneInfo | None, int]:
    """The ISO text, the zone and the fold of a stored text."""
    match = _SUFFIXED.fullmatch(raw.decode("ascii"))
    if match is None:
        raise ValueError
    iso, key, fold = match.groups()
    return iso, _zone(key) if key else None, 1 if fold else 0


def encode_datetime(value: Any) -> bytes:
    """`2024-05-01T12:00:00+02:00[Europe/Berlin]`"""
    if plain_type(value) is not datetime:
        raise TypeError
    return (datetime.isoformat(value) + _suffixes(value)).encode()


def decode_datetime(raw: bytes) -> datetime:
    """Wall time and zone are the value: the offset beside a zone is for readers, and rules of zones change."""
    iso, zone, fold = _split(raw)
    value = datetime.fromisoformat(iso)
    if value.isoformat() != iso or (zone is not None and value.tzinfo is None):
        raise ValueError
    return value.replace(tzinfo=zone or value.tzinfo, fold=fold)


_CANONICAL = re.compile(
    rb"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.(?!000000)\d{6})?(?:(?!-00:00)[+-]\d\d:[0-5]\d)?"
)
_DATETIME = Inline(
    datetime,
    "{v}.isoformat().encode() if {v}.tzinfo is {utc} and not {v}.fold else {encode}({v})",
    "{parse}({raw}.decode()) if {canonical}({raw}) else {decode}({raw})",
    {
        "utc": UTC,
        "encode": encode_datetime,
        "heads": HEADS,
        "framed": framed,
        "parse": datetime.fromisoformat,
        "canonical": _CANONICAL.fullmatch,
        "decode": decode_datetime,
    },
    short=True,
    framed="{heads}[len(text := {v}.isoformat())] + text if {v}.tzinfo is {utc} and not {v}.fold else "
    "{framed}({encode}({v}))",
)


def encode_time(value: Any) -> bytes:
    """`12:00:00+02:00`"""
    if plain_type(value) is not time:
        raise TypeError
    return (time.isoformat(value) + _suffixes(value)).encode()


def decode_time(raw: bytes) -> time:
    """A time has no offset beside a zone: it depends on the day."""
    iso, zone, fold = _split(raw)
    value = time.fromisoformat(iso)
    # An offset that a zone always has (UTC) is written beside it.
    made = value.replace(tzinfo=zone or value.tzinfo, fold=fold)
    if encode_time(made) != raw:
        raise ValueError
    return made


def encode_date(value: Any) -> bytes:
    """`2024-05-01`; a datetime is not a date here."""
    if plain_type(value) is not date:
        raise TypeError
    return date.isoformat(value).encode()


def decode_date(raw: bytes) -> date:
    """Only the extended form with hyphens."""
    value = date.fromisoformat(raw.decode("ascii"))
    if value.isoformat().encode() != raw:
        raise ValueError
    return value


def encode_timedelta(value: Any) -> bytes:
    """Seconds: `90`, `-0.500000`"""
    if plain_type(value) is not timedelta:
        raise TypeError
    total = value // _MICROSECOND
    seconds, micro = divmod(abs(total), 1_000_000)
    return f"{'-' if total < 0 else ''}{seconds}{f'.{micro:06d}' if micro else ''}".encode()


def decode_timedelta(raw: bytes) -> timedelta:
    """Exactly what `encode_timedelta` writes."""
    match = _DURATION.fullmatch(raw.decode("ascii"))
    if match is None or len(raw) > 24:
        raise ValueError
    sign, seconds, micro = match.groups()
    value = timedelta(seconds=int(seconds), microseconds=int(micro or 0))
    value = -value if sign else value
    if encode_timedelta(value) != raw:
        raise ValueError
    return value


def encode_zone(value: Any) -> bytes:
    """The key; a zone read from a file without one is refused."""
    if not _is_zone(value) or plain_type(value) is not sys.modules["zoneinfo"].ZoneInfo:
        raise TypeError
    return _zone_key(value).encode()


def decode_zone(raw: bytes) -> ZoneInfo:
    """The key of a zone that is installed."""
    match = re.fullmatch(r"[A-Za-z0-9_+\-]+(?:/[A-Za-z0-9_+\-]+)*", raw.decode("ascii"))
    if match is None:
        raise ValueError
    return _zone(match[0])


def register(registry: Registry) -> None:
    """Each for exactly its class: a datetime is a date to Python, and not here."""
    registry.leaf(datetime, encode_datetime, decode_datetime, inline=_DATETIME)
    registry.leaf(date, encode_date, decode_date)
    registry.leaf(time, encode_time, decode_time)
    registry.leaf(timedelta, encode_timedelta, decode_timedelta)
    registry.leaf("zoneinfo.ZoneInfo", encode_zone, decode_zone)
