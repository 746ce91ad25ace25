"""Write PostgreSQL's moments as Pydantic does: with a fraction of six digits or none, and Z for UTC.

``to_json`` writes neither. The cheapest form is a cast to text, if the session's DateStyle is ISO; whether it is, a
subquery tells once for each statement. Everything unusual is left to ``to_char``, which costs twice as much.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, case, cast, func, literal_column, or_
from sqlalchemy.types import TypeEngine

from querywright.fetch.writers.base import MISSING, Encoder, Fragments, SQLText, join, literal

__all__ = ["date", "moment", "time"]

# The zone of the values that a driver reads from a timestamptz.
Zone = Literal["UTC", "session"]

_NAIVE, _ZONED = "timestamp", "timestamptz"
_SECONDS = 'YYYY-MM-DD"T"HH24:MI:SS'
_ISO = "left(current_setting('DateStyle'), 3) = 'ISO'"
_IN_UTC = "current_setting('TimeZone') IN ('UTC', 'Etc/UTC')"
# A timestamp takes no notice of the zone; a timestamptz without one would be read in the session's.
_FIRST, _LAST = "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'"
_BEYOND = f"{MISSING}a date beyond those of Python{MISSING}"


def moment(zone: Zone, *, utc: bool = False) -> Encoder:
    """Write a timestamp.

    Args:
        zone: The zone of the values that the driver reads from a ``timestamptz``.
        utc: Whether the type makes UTC of all of them, and takes what has no zone for UTC.
    """

    def encode(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        zoned = utc or bool(getattr(column_type, "timezone", False))
        local = _at_utc(column) if zoned else column
        expected = _ZONED if zoned else _NAIVE
        always = _ISO if utc or not zoned or zone == "UTC" else f"{_ISO} AND {_IN_UTC}"
        usual = and_(_once(always), _is(column, expected), _in_years_of_python(column))
        written = join(_with_t(_padded(column, local, expected, 26)), "Z" if zoned else "")
        return ('"', case((usual, written), else_=_any_moment(column, "UTC" if utc else zone, utc=utc)), '"')

    return encode


def date(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Write a date."""
    text = cast(func.to_json(column), Text)
    written = _at_the_ends(column, "0001-01-01", "9999-12-31")
    return (case((_in_years_of_python(column), text), else_=join('"', written, '"')),)


def time(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
    """Write a time of day."""
    if getattr(column_type, "timezone", False):
        return (cast(func.to_json(column), Text),)
    return ('"', _padded(column, column, "time", 15), '"')


def _once(condition: str) -> ColumnElement[bool]:
    """Write a condition that is computed once for each statement, not for each row."""
    return literal_column(f"(SELECT {condition})", sa.Boolean)


def _is(column: ColumnElement[Any], type_name: str) -> ColumnElement[bool]:
    """Say whether a value is of a type: what a mapped class declares need not be what its table has."""
    return func.pg_typeof(column) == literal_column(f"'{type_name}'::regtype")


def _as(column: ColumnElement[Any], type_name: str) -> ColumnElement[Any]:
    return column.op("::", precedence=100)(literal_column(type_name))


def _at_utc(column: ColumnElement[Any]) -> ColumnElement[Any]:
    # By an interval: the name of a zone would be looked up for each row.
    return func.timezone(literal_column("interval '0'"), column)


def _in_years_of_python(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column.between(literal_column(_FIRST), literal_column(_LAST))


def _with_t(text: SQLText) -> SQLText:
    return func.replace(text, literal(" "), literal("T"))


def _padded(column: ColumnElement[Any], local: ColumnElement[Any], type_name: str, length: int) -> SQLText:
    """Cast to text, which has no zeros at the end of a fraction, and add them."""
    text: SQLText = cast(local, Text)
    six_digits = _as(column, f"{type_name}(5)") != column
    whole = _as(column, f"{type_name}(0)") == column
    return case((or_(six_digits, whole), text), else_=func.rpad(text, literal_column(str(length)), literal("0")))


def _any_moment(column: ColumnElement[Any], zone: Zone, *, utc: bool) -> SQLText:
    """Write any value of any type, whatever the session says."""
    zoned, naive = _as(column, _ZONED), _as(column, _NAIVE)
    if zone == "UTC":
        with_zone = join(_to_char(_at_utc(zoned)), "Z")
    else:
        with_zone = func.replace(_to_char(zoned, "TZH:TZM"), literal("+00:00"), literal("Z"))
    without = _to_char(naive, '"Z"' if utc else "")
    written = case((_is(column, _ZONED), with_zone), else_=without)
    end = "Z" if utc else ""
    ends = _at_the_ends(column, f"0001-01-01T00:00:00{end}", f"9999-12-31T23:59:59.999999{end}")
    return case((_in_years_of_python(column), written), else_=ends)


def _to_char(moment: ColumnElement[Any], end: str = "") -> SQLText:
    whole = func.date_trunc(literal("second"), moment) == moment
    layout = case((whole, literal(f"{_SECONDS}{end}")), else_=literal(f"{_SECONDS}.US{end}"))
    return func.to_char(moment, layout)


def _at_the_ends(column: ColumnElement[Any], first: str, last: str) -> SQLText:
    """Write infinity: asyncpg stores and reads Python's first and last moment as such."""
    infinite: list[ColumnElement[bool]] = [column == literal_column(f"'{end}infinity'") for end in ("-", "")]
    beyond = join(func.chr(literal_column("1")), _BEYOND.strip(MISSING), func.chr(literal_column("1")))
    return case((infinite[0], literal(first)), (infinite[1], literal(last)), (column.is_not(None), beyond))
