"""Write PostgreSQL's moments as Pydantic does: with a fraction of six digits or none, and Z for UTC.

``to_json`` writes neither. The cheapest form for each value is a cast to text, if the session's DateStyle is ISO and
its zone is UTC; whether they are, a subquery tells once for each statement. The cheapest form for a statement is
``to_char``, which asks for nothing and needs few functions: for one row they cost more to prepare than to call.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column, or_
from sqlalchemy.types import TypeEngine

from querywright.fetching.writers.base import Encoder, Fragments, SQLText, join, literal

__all__ = ["Zone", "date", "is_of", "moment", "time"]

# The zone of the values that a driver reads from a timestamptz.
Zone = Literal["UTC", "session"]

_USUAL_SESSION = (
    "(SELECT left(current_setting('DateStyle'), 3) = 'ISO' AND current_setting('TimeZone') IN ('UTC', 'Etc/UTC'))"
)
# A timestamp takes no notice of the zone; a timestamptz without one would be read in the session's.
_FIRST, _LAST = "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'"
_BEYOND = "a date beyond those of Python"
_TIME = 15
_LAYOUT = 'YYYY-MM-DD"T"HH24:MI:SS.US'


def moment(zone: Zone, *, utc: bool = False, many: bool = False) -> Encoder:
    """Write a timestamp.

    Args:
        zone: The zone of the values that the driver reads from a ``timestamptz``.
        utc: Whether the type makes UTC of all of them, and takes what has no zone for UTC.
        many: Whether the statement returns many rows.
    """

    def encode(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        zoned = utc or bool(getattr(column_type, "timezone", False))
        # What becomes UTC ends alike in every form.
        end = "" if utc else "Z"
        text = _any_moment(column, zone, end)
        if many:
            # What a mapped class declares need not be what its table has.
            declared = [] if utc else [is_of(column, "timestamptz" if zoned else "timestamp")]
            usual = and_(literal_column(_USUAL_SESSION, sa.Boolean), _in_years_of_python(column), *declared)
            local = _at_utc(column) if zoned else column
            written = func.replace(_padded(column, local, 26), literal(" "), literal("T"))
            text = case((usual, _ended(written, end if zoned else "")), else_=text)
        return ('"', text, 'Z"' if utc else '"')

    return encode


def bound_moment(*, utc: bool = False) -> Encoder:
    """Write a timestamp that is bound again: in UTC, for Pydantic reads no seconds of an offset."""

    def encode(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        zoned = utc or bool(getattr(column_type, "timezone", False))
        text = func.to_char(_at_utc(column) if zoned else _as(column, "timestamp"), literal(_LAYOUT))
        # asyncpg would store the first and the last moment of Python as infinity.
        between = and_(column > literal_column(_FIRST), column < literal_column(_LAST))
        return ('"', case((between, text), (column.is_not(None), broken(_BEYOND))), 'Z"' if zoned else '"')

    return encode


def _any_moment(column: ColumnElement[Any], zone: Zone, end: str) -> SQLText:
    """Write any value of any type, whatever the session says."""
    naive = func.to_char(_as(column, "timestamp"), literal(_LAYOUT))
    if zone == "UTC" or not end:
        zoned = _ended(func.to_char(_at_utc(column), literal(_LAYOUT)), end)
    else:
        zoned = func.to_char(_as(column, "timestamptz"), literal(f"{_LAYOUT}TZH:TZM"))
        zoned = func.replace(zoned, literal("+00:00"), literal(end))
    text = case((is_of(column, "timestamptz"), zoned), else_=naive)
    whole = func.replace(text, literal(".000000"), literal(""))
    return _within(column, whole, "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999")


def _ended(text: SQLText, end: str) -> SQLText:
    return join(text, end) if end else text


def date(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Write a date."""
    return (_within(column, cast(func.to_json(column), Text), '"0001-01-01"', '"9999-12-31"'),)


def time(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
    """Write a time of day."""
    if getattr(column_type, "timezone", False):
        return (cast(func.to_json(column), Text),)
    return ('"', _padded(column, column, _TIME), '"')


def is_of(column: ColumnElement[Any], type_name: str) -> ColumnElement[bool]:
    """Return whether a value is of a type."""
    return func.pg_typeof(column) == literal_column(f"'{type_name}'::regtype")


def _as(column: ColumnElement[Any], type_name: str) -> ColumnElement[Any]:
    return column.op("::", precedence=100)(literal_column(type_name))


def _at_utc(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # By an interval: the name of a zone would be looked up for each row.
    return func.timezone(literal_column("interval '0'"), _as(column, "timestamptz"))


def _in_years_of_python(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column.between(literal_column(_FIRST), literal_column(_LAST))


def _within(column: ColumnElement[Any], text: SQLText, first: str, last: str) -> SQLText:
    """Write what Python can hold: asyncpg stores and reads its first and last moment as infinity."""
    return case(
        (_in_years_of_python(column), text),
        (column == literal_column("'-infinity'"), literal(first)),
        (column == literal_column("'infinity'"), literal(last)),
        (column.is_not(None), broken(_BEYOND)),
    )


def broken(path: str) -> SQLText:
    """Write what tells of a value that cannot be written."""
    return literal_column(f"chr(1) || '{path}' || chr(1)", Text)


def _padded(column: ColumnElement[Any], local: ColumnElement[Any], length: int) -> SQLText:
    """Cast to text, which has no zeros at the end of a fraction, and add them."""
    type_name = "time" if length == _TIME else "timestamptz" if local is not column else "timestamp"
    text: SQLText = cast(local, Text)
    six_digits = _as(column, f"{type_name}(5)") != column
    whole = _as(column, f"{type_name}(0)") == column
    return case((or_(six_digits, whole), text), else_=func.rpad(text, literal_column(str(length)), literal("0")))
