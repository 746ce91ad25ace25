"""Check the values of a cursor that is not sealed, which anybody can write: only such pass as a column can have.

Any other kind would make the database refuse the statement, or compare something else than the column.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from sqlalchemy import Enum, Uuid

from querywright.fetching.plan.nodes import Scalar
from querywright.fetching.writers import SortKinds

__all__ = ["are_possible"]

Check = Callable[[str], bool]


def are_possible(values: Sequence[tuple[str, str] | None], columns: Iterable[Scalar], kinds: SortKinds) -> bool:
    """Return whether a row may be ordered by these values.

    Args:
        values: For each its kind and its text; ``None`` for NULL.
        columns: What shows each of them.
        kinds: What the database has.
    """
    return all(
        value is None or _is_possible(*value, column, kinds) for value, column in zip(values, columns, strict=True)
    )


def _is_possible(kind: str, text: str, column: Scalar, kinds: SortKinds) -> bool:
    if kinds.are_types and isinstance(column.type, Enum) and column.type.native_enum:
        return kind in _names(column.type) and text in column.type.enums
    check = _CHECKS.get(kind)
    if check is None or kind not in _kinds(column, kinds):
        return False
    # PostgreSQL and MariaDB read more than they write, such as "now", but they write nothing that Python does not read.
    try:
        return check(text) and not (kinds.are_types and "\0" in text)
    except (ValueError, ArithmeticError, struct.error):
        return False


def _kinds(column: Scalar, kinds: SortKinds) -> frozenset[str]:
    if kinds.are_types and isinstance(column.type, Uuid) and column.type.native_uuid:
        return frozenset({"uuid"})
    if column.type.__visit_name__ == "CITEXT":
        return frozenset({"citext"})
    return kinds.by_encoding.get(column.encoding, frozenset())


def _names(column_type: Enum) -> set[str]:
    """Write the name of a type in all the ways in which PostgreSQL may write it."""
    names = [column_type.name or ""]
    schemas = [column_type.schema, getattr(column_type.metadata, "schema", None)]
    written = {form for name in names for form in (name, _quoted(name))}
    prefixes = {form for schema in schemas if schema for form in (schema, _quoted(schema))}
    return written | {f"{prefix}.{name}" for prefix in prefixes for name in written}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _integer(bits: int) -> Check:
    def check(text: str) -> bool:
        return -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1) and str(int(text)) == text

    return check


def _is_text(text: str) -> bool:
    # Half of a surrogate pair has no bytes.
    return bool(text.encode()) or not text


def _is_double(text: str) -> bool:
    return repr(float(text)) == text


def _is_real(text: str) -> bool:
    number = float(text)
    return _is_double(text) and (
        not math.isfinite(number) or struct.unpack(">f", struct.pack(">f", number))[0] == number
    )


def _is_finite(text: str) -> bool:
    return _is_double(text) and math.isfinite(float(text))


# MariaDB has fewer digits, and PostgreSQL some more.
_MOST_DIGITS = 100
_NUMERIC = re.compile(r"-?[0-9]{1,10000}(\.[0-9]{1,10000})?|NaN|-?Infinity")


def _is_decimal(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and Decimal(text).is_finite() and str(Decimal(text)) == text


_INFINITE = ("infinity", "-infinity")
_SHORT_FRACTION = re.compile(r"(?<=\.)\d{1,6}", re.ASCII)
# PostgreSQL reads no other zones.
_MOST_OFFSET = dt.timedelta(hours=16)


def _moment(*, zone: bool) -> Check:
    def check(text: str) -> bool:
        if text in _INFINITE:
            return True
        # Python before 3.11 reads three digits or six.
        moment = dt.datetime.fromisoformat(_SHORT_FRACTION.sub(lambda found: found[0].ljust(6, "0"), text, count=1))
        offset = moment.utcoffset()
        fits = offset is None if not zone else offset is not None and abs(offset) < _MOST_OFFSET
        return fits and bool(_ISO.fullmatch(text))

    return check


_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d:\d\d(:\d\d)?)?", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,6})?|24:00:00", re.ASCII)
# MySQL's TIME goes to 838:59:59.
_LONGEST_TIME = dt.timedelta(hours=839)

_CHECKS: dict[str, Check] = {
    "@integer": _integer(64),
    "@float": _is_finite,
    "@text": _is_text,
    "@decimal": _is_decimal,
    "@timestamp": lambda text: dt.datetime.fromisoformat(text).replace(tzinfo=None).isoformat() == text,
    "@date": lambda text: dt.date.fromisoformat(text).isoformat() == text,
    "@interval": lambda text: str(int(text)) == text and abs(dt.timedelta(microseconds=int(text))) < _LONGEST_TIME,
    "smallint": _integer(16),
    "integer": _integer(32),
    "bigint": _integer(64),
    "real": _is_real,
    "double precision": _is_double,
    "numeric": lambda text: bool(_NUMERIC.fullmatch(text)),
    "boolean": lambda text: text in {"true", "false"},
    "uuid": lambda text: str(uuid.UUID(text)) == text,
    "date": lambda text: text in _INFINITE or dt.date.fromisoformat(text).isoformat() == text,
    "time without time zone": lambda text: bool(_CLOCK.fullmatch(text)),
    "timestamp without time zone": _moment(zone=False),
    "timestamp with time zone": _moment(zone=True),
    **dict.fromkeys(("text", "character varying", "bpchar", "name", "citext"), _is_text),
}
