"""Write JSON on MySQL 8 and on MariaDB.

JSON is text joined with CONCAT: MySQL's own JSON_OBJECT sorts the keys and JSON_ARRAYAGG takes no order, and ``||``
means OR unless the session says otherwise. GROUP_CONCAT joins arrays, in the scalar subquery itself, for a derived
table of MariaDB cannot refer to the rows outside of it.

Nothing here depends on the session: not on ``sql_mode`` (NO_BACKSLASH_ESCAPES, ANSI_QUOTES, PIPES_AS_CONCAT), not on
the collations of columns and connection, not on ``group_concat_max_len``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Text, and_, case, func, literal_column, null
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeEngine
from typing_extensions import override

from querywright.errors import ShapeError
from querywright.fetching.mapping.orders import apart
from querywright.fetching.plan.nodes import Encoding
from querywright.fetching.plan.types import members_of, unwrap_type
from querywright.fetching.writers.base import (
    CUT,
    MISSING,
    TOO_LARGE,
    UNFINISHED,
    Encoder,
    Fragments,
    JsonWriter,
    Member,
    Nesting,
    SQLText,
    documents,
    dump,
    merged,
)
from querywright.fetching.writers.kinds import MYSQL_KINDS
from querywright.models.types import ExactDecimal

__all__ = ["MYSQL"]

# GROUP_CONCAT cuts its text, at a whole character, where it reaches this many bytes or max_allowed_packet, and only
# warns. max_allowed_packet is at most 2**30. Not a power of two, for there are versions in which those overflow.
_MOST_BYTES = 2**30 - 1
# Servers like these may ignore that: behind each item stands a character that JSON does not have, and they are counted.
_END = "\x03"
# Follows a text without all of them. Short, for what it is joined to may not become too long by it.
_CUT = f"{MISSING}{CUT}{MISSING}"
# Each server runs its own and takes the other's for a comment.
_MARIADB_LIMIT = f"/*M! SET STATEMENT group_concat_max_len={_MOST_BYTES} FOR */ "
_MYSQL_LIMIT = f"/*+ SET_VAR(group_concat_max_len={_MOST_BYTES}) */"

# ORDER BY looks only at so many bytes of a text, by default at 1,024, but a comparison at all of them: rows that differ
# behind those are sorted otherwise than a page begins. Fifteen such keys have to fit into sort_buffer_size.
_SORTED_BYTES = 8192
_SORTED_CHARACTERS = 1000
_MARIADB_PAGE = f"/*M! SET STATEMENT group_concat_max_len={_MOST_BYTES}, max_sort_length={_SORTED_BYTES} FOR */ "
_MYSQL_PAGE = f"/*+ SET_VAR(group_concat_max_len={_MOST_BYTES}) SET_VAR(max_sort_length={_SORTED_BYTES}) */"


_SECONDS = "%Y-%m-%dT%H:%i:%S"
# Of a DECIMAL.
_MOST_DIGITS = 65


def _literal(text: str) -> SQLText:
    """Write a text so that every ``sql_mode`` and every character set of a connection reads it alike."""
    # SQLAlchemy looks for %(name)s in the whole SQL, and takes a key of that form for a parameter of that name.
    if text.isascii() and text.isprintable() and "\\" not in text and "%(" not in text:
        return literal_column("'" + text.replace("'", "''") + "'", Text)
    return literal_column(f"_utf8mb4 X'{text.encode().hex()}'", Text)


def _join(*fragments: str | SQLText) -> SQLText:
    """Join fragments with CONCAT, constant neighbours beforehand."""
    parts = merged(fragments, _literal)
    return parts[0] if len(parts) == 1 else func.concat(*parts)


@dataclass(frozen=True)
class _MySQLWriter(JsonWriter):
    """A writer with literals and joins of its own."""

    @override
    def literal(self, text: str) -> SQLText:
        return _literal(text)

    @override
    def join(self, *fragments: str | SQLText) -> SQLText:
        return _join(*fragments)

    @override
    def quote(self, value: ColumnElement[Any]) -> SQLText:
        return _quote(value)

    @override
    def aggregate(self, item: SQLText, order: Sequence[Any]) -> SQLText:
        return _aggregate(item, order)

    @override
    def object(self, members: Sequence[Member]) -> SQLText:
        return self._unless_large(super().object(members), members)

    @override
    def compact(self, members: Sequence[Member]) -> SQLText:
        return self._unless_large(super().compact(members), members)

    def _unless_large(self, written: SQLText, members: Sequence[Member]) -> SQLText:
        """Leave NULL to an object that lacks a required value; one that CONCAT gave up gets a marker of its own."""
        # What is whole would be written twice.
        required = [
            member.required.is_not(None) for member in members if member.required is not None and not member.whole
        ]
        large = self.broken(TOO_LARGE)
        return func.coalesce(written, case((and_(*required), large)) if required else large)

    @override
    def _unless_null(self, member: Member) -> SQLText:
        if member.required is not None:
            return super()._unless_null(member)
        text = self.text(member.value)
        text = func.nullif(text, _literal("null")) if member.document else text
        # Without a text it is empty, and NULL only if it is too long.
        return func.concat_ws(_literal(f",{dump(member.key)}:"), _literal(""), text)

    @override
    def array(self, item: SQLText, path: str, order: Sequence[Any] = (), limit: int | None = None) -> SQLText:
        return self.enclosed("[", _aggregate(self.checked(item, path), order, limit), "]")

    @override
    def enclosed(self, left: str, items: SQLText, right: str) -> SQLText:
        # NULL is what CONCAT gives for a text beyond max_allowed_packet.
        return func.coalesce(_join(left, items, right), self.broken(TOO_LARGE))

    @override
    def broken(self, path: str) -> SQLText:
        return _literal(f"{MISSING}{path}{MISSING}")

    @override
    def average(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        column_type = unwrap_type(column.type)
        exact = isinstance(column_type, (sa.Integer, sa.Numeric, ExactDecimal)) and not isinstance(
            column_type, sa.Float
        )
        # An average of exact numbers has but four more digits than they have.
        total = sa.cast(func.sum(column), sa.Numeric(_MOST_DIGITS, 30)) if exact else func.sum(column)
        return sa.type_coerce(total.op("/")(func.count(column)), sa.Double) * literal_column("1e0", sa.Double)

    @override
    def sort_key(self, expression: ColumnElement[Any]) -> ColumnElement[Any]:
        column_type = unwrap_type(expression.type)
        named = isinstance(column_type, sa.Enum) and column_type.native_enum
        if (named or column_type.__visit_name__ in {"SET", "BIT"}) and not _is_united(expression):
            # It is ordered by the positions of its names, and compared by the names.
            return sa.type_coerce(expression, sa.Integer) + _number(0)
        if isinstance(column_type, sa.Float) and not isinstance(column_type, sa.Double):
            # It is written with six digits, and compared with all that it has.
            return sa.type_coerce(expression, sa.Double) * literal_column("1e0", sa.Double)
        return expression

    @override
    def order_nulls(
        self, expression: ColumnElement[Any], *, descending: bool, nulls_first: bool
    ) -> list[ColumnElement[Any]]:
        ordered = expression.desc() if descending else expression.asc()
        # NULL is less than any value; where that suits, an index can do the ordering.
        if nulls_first is not descending:
            return [ordered]
        is_null = expression.is_(None)
        return [is_null.desc() if nulls_first else is_null.asc(), ordered]

    @override
    def _enum(self, column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        # As bytes: most collations take "a" for "A", and all of them "a " for "a".
        stored = sa.cast(_utf8mb4(column), sa.LargeBinary)
        assert isinstance(column_type, sa.Enum)  # noqa: S101 - the encoding says so
        whens = [(stored == _bytes(name), _literal(dump(value))) for name, value in members_of(column_type)]
        unknown = self.broken(f"a name that {column_type.enum_class.__name__} does not have")  # type: ignore[union-attr]
        return (case((column.is_(None), null()), *whens, else_=unknown),)


def _is_united(expression: Any) -> bool:
    """Return whether an ENUM came through a UNION, which makes a text of it.

    Raises:
        ShapeError: It is not known what became of it.
    """
    table = getattr(expression, "table", None)
    inside = getattr(table, "element", None)
    if isinstance(inside, sa.CompoundSelect):
        return True
    if isinstance(table, sa.Table) or isinstance(inside, sa.Table):
        return False
    reason = f"it is ordered by {expression}, of which it is not known whether it still is an ENUM."
    raise ShapeError("statement", reason, hint="Order it by the column itself.")


def _number(number: int) -> ColumnElement[int]:
    return literal_column(str(number), sa.Integer)


def _bytes(text: str) -> ColumnElement[bytes]:
    return literal_column(f"_binary X'{text.encode().hex()}'", sa.LargeBinary)


def _utf8mb4(column: ColumnElement[Any]) -> SQLText:
    return func.convert(sa.type_coerce(column, Text).op("USING")(literal_column("utf8mb4")))


def _aggregate(item: SQLText, order: Sequence[Any], limit: int | None = None) -> SQLText:
    """Join items, which are not NULL; if any of them is not there as a whole, a marker follows."""
    end = _literal(_END)
    # MySQL joins them all.
    most = "" if limit is None else f" /*M!100303 LIMIT {limit} */"
    separator: SQLText = literal_column(f"''{most}", Text)
    order = [part for clause in order for part in _nulls_apart(clause)]
    if order:
        # Of higher precedence than ORDER BY, or there were parentheses around one of them.
        last = order[-1].op("SEPARATOR", precedence=1)(separator)
        first, *others = (*order[:-1], last)
        joined = func.group_concat(item, end.op("ORDER BY")(first), *others)
    else:
        joined = func.group_concat(item, end.op("SEPARATOR")(separator))
    count: ColumnElement[int] = func.count()
    wanted = count if limit is None else func.least(count, _number(limit))
    # Up to the end of the last item that is wanted: all of it, with the marker, if there are not that many ends.
    marked = func.concat_ws(_literal(""), joined, _literal(_CUT))
    return func.replace(func.substring_index(marked, end, wanted), end, _literal(","))


def _nulls_apart(clause: Any) -> list[Any]:
    """Order NULL before all values: MariaDB's GROUP_CONCAT takes it for 0 or for an empty text."""
    expression, words = apart(clause)
    never = isinstance(expression, sa.Column) and not expression.nullable
    if never and isinstance(expression.table, (sa.Table, sa.Alias)):
        return [clause]
    is_null = expression.is_(None)
    return [is_null if operators.desc_op in words else is_null.desc(), clause]


def _quote(value: ColumnElement[Any]) -> SQLText:
    return func.json_quote(value)


def _plain(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Let CONCAT write it: numbers with every digit they have, in the shortest notation."""
    return (sa.type_coerce(column, Text),)


def _integer(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # ZEROFILL, of which a mapped class need not know, puts zeros in front, which JSON forbids; a sum has none.
    return (sa.type_coerce(sa.type_coerce(column, sa.Integer) + _number(0), Text),)


def _float(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # MariaDB declares them shorter than they may be, and cuts a text that GROUP_CONCAT puts into a temporary table.
    # DOUBLE(255, 30) is the longest.
    return (sa.cast(column, sa.CHAR(350)),)


def _unfinished(how: str, text: SQLText) -> Fragments:
    return (_join(f"{UNFINISHED}{how}", text, UNFINISHED),)


def _client_float(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
    """Leave the notation to Python: the digits are right, but a DOUBLE(M, D) has zeros at its end."""
    [text] = _float(column, column_type)
    return _unfinished("f", text)  # type: ignore[arg-type]


def _decimal(column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
    if isinstance(column_type, ExactDecimal):
        # An expression of that type need not have its digits.
        column = sa.cast(column, sa.Numeric(_MOST_DIGITS, column_type.scale))
    if getattr(column_type, "zerofill", False):
        column = sa.type_coerce(column, sa.Numeric) + _number(0)
    # A smaller one may need an exponent.
    text, plain = sa.type_coerce(column, Text), func.abs(column) >= literal_column("0.000001")
    [small] = _unfinished("s", text)
    return ('"', case((plain, text), else_=small), '"')


def _text(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (_quote(column),)


def _boolean(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    number = sa.type_coerce(column, sa.Integer)
    written = case((number == _number(0), _literal("false")), (number.is_not(None), _literal("true")))
    return (written,)


def _quoted(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return ('"', sa.type_coerce(column, Text), '"')


def _moment(layout: str, end: str = "") -> Encoder:
    def encode(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
        whole = func.microsecond(column) == _number(0)
        written = case((whole, _literal(layout)), else_=_literal(f"{layout}.%f"))
        return ('"', func.date_format(column, written), f'{end}"')

    return encode


def _uuid(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Give dashes to 32 digits; MariaDB's own UUID has them."""
    text = sa.type_coerce(column, Text)
    dashed: SQLText = func.lower(func.replace(text, _literal("-"), _literal("")))
    for position in (9, 14, 19, 24):
        dashed = func.insert(dashed, _number(position), _number(0), _literal("-"))
    return ('"', dashed, '"')


def _json(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (case(*documents(_utf8mb4(column), column, _literal)),)


def _name(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    return (_quote(_utf8mb4(column)),)


def _hexadecimal(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    # Not with CONCAT, which would give NULL for a long one, as for none.
    return (_quote(func.lower(func.hex(column))),)


MYSQL = _MySQLWriter(
    encoders={
        Encoding.INTEGER: _integer,
        Encoding.TEXT: _text,
        Encoding.BOOLEAN: _boolean,
        # There is neither NaN nor infinity.
        Encoding.FLOAT: _client_float,
        Encoding.DECIMAL: _decimal,
        Encoding.TIMESTAMP: _moment(_SECONDS),
        Encoding.UTC_TIMESTAMP: _moment(_SECONDS, "Z"),
        Encoding.DATE: _quoted,
        Encoding.TIME: _moment("%H:%i:%S"),
        Encoding.UUID: _uuid,
        Encoding.JSON: _json,
    },
    model_encoders={
        Encoding.NAME: _name,
        Encoding.BYTES: _hexadecimal,
        Encoding.INTERVAL: _moment(_SECONDS),
        Encoding.FLOAT: _float,
    },
    wire_encoders={Encoding.DECIMAL: _quoted},
    aggregate_orders=True,
    client_joins=True,
    nulls_are_largest=False,
    missing=_literal(MISSING),
    slot=_literal("\x02"),
    # Around each list there are five functions, and SQLAlchemy's compiler goes as deep as they do.
    most_lists=5,
    nesting=Nesting(
        most=620,
        statement=105,
        page=105,
        join=32,
        subquery=100,
        groups=172,
        compact=36,
        slot=60,
        value=80,
        values=dict.fromkeys((Encoding.INTEGER, Encoding.TEXT, Encoding.DATE), 20),
    ),
    # MariaDB drops the ORDER BY of a derived table that has no LIMIT
    # (https://mariadb.com/kb/en/why-is-order-by-in-a-from-subquery-ignored/), reads one with long texts in the order of
    # its pages on disk, and its row_number() over () counts rows in the order of their first column.
    keeps_order=False,
    outer_rows_in_from=False,
    index_of_tuples=False,
    prelude=_MARIADB_LIMIT,
    hint=_MYSQL_LIMIT,
    most_sorted=_SORTED_CHARACTERS,
    sort_kinds=MYSQL_KINDS,
    page_prelude=_MARIADB_PAGE,
    page_hint=_MYSQL_PAGE,
    # MariaDB does.
    capitals=True,
)
