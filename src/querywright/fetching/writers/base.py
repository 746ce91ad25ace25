"""What the writers of all databases share: fragments of JSON text, members, and the marker of a broken row.

An object is text, joined of constant and computed fragments: ``'{"id":' || id || '}'``. On PostgreSQL that is faster
than its own JSON functions and has no limit of 100 arguments.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy import ColumnElement, Text, bindparam, case, cast, func, literal_column, null
from sqlalchemy.types import TypeEngine

from querywright.fetching.plan.nodes import Encoding
from querywright.fetching.plan.types import members_of
from querywright.fetching.writers.kinds import SortKinds

__all__ = [
    "CUT", "EXPONENT", "FEW_DIGITS", "MISSING", "MISSING_WITHIN", "NOT_JSON", "SEVERAL", "TOO_LARGE", "UNFINISHED",
    "Encoder", "Fragments", "JsonWriter", "Member", "Nesting", "SQLText", "Use", "Value", "as_text", "broken",
    "documents", "dump", "join", "literal", "merged", "with_commas",
]  # fmt: skip

SQLText = ColumnElement[str]
# JSON text in pieces: constant, or computed by the database.
Fragments = tuple[str | SQLText, ...]
# Fragments, or a plain value that the database's own JSON function writes.
Value = Fragments | ColumnElement[Any]
# Who reads a value: a client, the model that validates it, or a later statement, to which it is bound again.
Use = Literal["client", "model", "wire"]
Encoder = Callable[[ColumnElement[Any], TypeEngine[Any]], Value]

# Brackets the path of a model whose required value is NULL. JSON text never holds a raw control character
# (RFC 8259, section 7), so one search through the result finds every such row.
MISSING = "\x01"
# The same within a value that the database escapes: a text may have an escaped character as well, so what follows it is
# known to nobody else.
MISSING_WITHIN = f"\\u0001{secrets.token_hex(16)}"
# Stands between two of them where the text is longer than the database makes them.
TOO_LARGE = "too large"
# Stands there where a column of JSON holds another text.
NOT_JSON = "no JSON"
# Stands there where a key has several rows and the model one.
SEVERAL = "several rows"
# Stands there where the session lets PostgreSQL cut digits off.
FEW_DIGITS = "few digits"
# Stands there where a text was cut; no name has such a character.
CUT = "\x04"
# Brackets a number that SQL cannot write as Python does: Python writes it while the text is read.
UNFINISHED = "\x04"
# What stands before a positive exponent differs between versions of Pydantic.
EXPONENT = "e+" if b"+" in to_json(1e16) else "e"


@dataclass(frozen=True)
class Member:
    """One member of a JSON object.

    Attributes:
        key: Its key.
        value: Its value.
        required: The column that must not be NULL, or the row is broken; without one, NULL is written as ``null``.
        document: Whether the value is JSON itself, and may be its ``null``.
        whole: Whether the value is an object or an array, which is never NULL.
    """

    key: str
    value: Value
    required: ColumnElement[Any] | None = None
    document: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Nesting:
    """How deep a statement may be nested, and what is how deep.

    Measured in what runs out first: entries of the stack of SQLite's parser, elsewhere frames of Python in SQLAlchemy's
    compiler, of which the caller needs some as well.

    Attributes:
        most: How deep a value may lie.
        statement: How deep a row of a statement lies.
        page: How deep a row of a page lies.
        join: How much deeper a row lies that is joined to another.
        subquery: How much deeper rows lie that are selected for another.
        groups: How much deeper rows lie that are grouped for another.
        compact: How much deeper a row lies that may be left out; twice if it may be null.
        slot: How deep the key of a row goes that is left open.
        value: How deep a value of a row goes.
        values: How deep a value goes of an encoding for which that is known.
    """

    most: int
    statement: int
    page: int
    join: int
    subquery: int
    groups: int
    compact: int
    slot: int
    value: int
    values: Mapping[Encoding, int]


@dataclass(frozen=True)
class JsonWriter:
    """How one database writes JSON: its facts and its values are data, what it does otherwise a subclass does.

    Attributes:
        encoders: For each encoding, how a column becomes a value; NULL stays NULL.
        model_encoders: What differs when the JSON is read by the model and not by a client.
        sort_kinds: The kinds of values that a cursor may hold.
        aggregate_orders: Whether ``aggregate`` takes the order, or needs its rows in that order.
        client_joins: Whether an array of few large rows is better joined by the client.
        nulls_are_largest: Whether NULL sorts behind all values.
        missing: The character of `MISSING`.
        slot: The character U+0002, between two of which an open list stands.
        most_lists: How many lists inside each other one statement can write; ``None`` if there is no limit.
        nesting: How deep its SQL may be nested; ``None`` if there is no limit that a model could meet.
        keeps_order: Whether the rows of a subquery keep its order, so that ``row_number()`` counts them in it.
        outer_rows_in_from: Whether a subquery in FROM can refer to the rows outside of it; if not, ``array`` takes
            the limit.
        index_of_tuples: Whether an index is used to compare ``(a, b)`` with another tuple.
        distinct_on: Whether there is DISTINCT ON.
        prelude: What stands before a statement with arrays in it.
        hint: What follows its SELECT.
        most_sorted: How many characters of a text are looked at when rows are sorted; ``None`` if all.
        page_prelude: What stands before the statement of a page.
        page_hint: What follows its SELECT.
        wire_encoders: What differs further when the text is bound again, as a part of a key or of a cursor.
        capitals: Whether it writes the escapes of control characters with hexadecimal digits in capitals.
        bare_infinity: Whether it writes an infinite number, which columns of other numbers take as well, as ``Inf``.
        reads_networks: Whether the driver makes objects of network addresses, and not texts.
        of_one: The writer of a statement that returns one value of each kind, if that is another.
    """

    encoders: dict[Encoding, Encoder]
    model_encoders: dict[Encoding, Encoder]
    sort_kinds: SortKinds
    aggregate_orders: bool
    client_joins: bool
    nulls_are_largest: bool
    missing: SQLText
    slot: SQLText
    most_lists: int | None = None
    nesting: Nesting | None = None
    keeps_order: bool = True
    outer_rows_in_from: bool = True
    index_of_tuples: bool = True
    distinct_on: bool = False
    prelude: str = ""
    hint: str = ""
    most_sorted: int | None = None
    page_prelude: str = ""
    page_hint: str = ""
    wire_encoders: dict[Encoding, Encoder] = field(default_factory=dict)
    of_one: JsonWriter | None = None
    capitals: bool = False
    bare_infinity: bool = False
    reads_networks: bool = True

    def value(
        self, encoding: Encoding, column: ColumnElement[Any], column_type: TypeEngine[Any], *, use: Use = "client"
    ) -> Value:
        """Write one value; NULL stays NULL."""
        if encoding is Encoding.ENUM:
            return self._enum(column, column_type)
        tables = {"client": (), "model": (self.model_encoders,), "wire": (self.wire_encoders, self.model_encoders)}
        encoders = next((table for table in tables[use] if encoding in table), self.encoders)
        return encoders[encoding](column, column_type)

    def writes(self, encoding: Encoding) -> bool:
        """Return whether this database has such values."""
        return encoding is Encoding.ENUM or encoding in self.encoders or encoding in self.model_encoders

    def literal(self, text: str) -> SQLText:
        """Write a text into the SQL itself: parts of the JSON are not parameters."""
        return literal(text)

    def join(self, *fragments: str | SQLText) -> SQLText:
        """Join fragments, constant neighbours beforehand."""
        return join(*fragments)

    def text(self, value: Value) -> SQLText:
        """Write a value as JSON text; NULL stays NULL."""
        return self.join(*value) if isinstance(value, tuple) else self.quote(value)

    def quote(self, value: ColumnElement[Any]) -> SQLText:
        """Write a plain value as JSON text."""
        raise NotImplementedError

    def aggregate(self, item: SQLText, order: Sequence[Any]) -> SQLText:
        """Join the rows of a group, with commas and in an order, into one text."""
        raise NotImplementedError

    def object(self, members: Sequence[Member]) -> SQLText:
        """Write an object of its members; NULL if a required one is NULL."""
        return self.join("{", *with_commas(map(self.joined_member, members)), "}")

    def joined_member(self, member: Member) -> Fragments:
        """Write one member as text."""
        assert isinstance(member.value, tuple)  # noqa: S101 - a plain value is not joined
        value = member.value
        if member.required is None:
            value = (func.coalesce(self.join(*value), self.literal("null")),)
        return (f"{dump(member.key)}:", *value)

    def compact(self, members: Sequence[Member]) -> SQLText:
        """Write an object without the members that are null; NULL if a required one is NULL."""
        joined = self.join("", *(self._unless_null(member) for member in members))
        return self.join("{", func.substr(joined, literal_column("2")), "}")

    def _unless_null(self, member: Member) -> SQLText:
        text = self.text(member.value)
        if member.required is not None:
            return self.join(f",{dump(member.key)}:", text)
        text = func.nullif(text, self.literal("null")) if member.document else text
        return func.coalesce(self.join(f",{dump(member.key)}:", text), self.literal(""))

    def array(self, item: SQLText, path: str, order: Sequence[Any] = (), limit: int | None = None) -> SQLText:
        """Aggregate rows, each an object, into an array."""
        assert limit is None  # noqa: S101 - here the rows were limited before
        return self.enclosed("[", self.aggregate(self.checked(item, path), order), "]")

    def enclosed(self, left: str, items: SQLText, right: str) -> SQLText:
        """Put brackets around what was aggregated, which is NULL if there were no rows."""
        return self.join(left, func.coalesce(items, self.literal("")), right)

    def listed(self, texts: Sequence[SQLText]) -> SQLText:
        """Write an array of so many values."""
        return self.join("[", *with_commas((text,) for text in texts), "]")

    def checked(self, item: SQLText, path: str) -> SQLText:
        """Write an object, or the marker of a broken row in the place of one that is NULL."""
        return func.coalesce(item, self.broken(path))

    def broken(self, path: str) -> SQLText:
        """Write the marker of a row that lacks a required value."""
        return self.join(self.missing, path, self.missing)

    def zero(self, column_type: TypeEngine[Any]) -> ColumnElement[Any]:
        """Write the sum of nothing: with as many digits as the sum of something has."""
        scale = column_type.scale if isinstance(column_type, sa.Numeric) and column_type.asdecimal else None
        return literal_column("0." + "0" * scale, column_type) if scale else literal_column("0", sa.Integer)

    def average(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Compute an average, to be written as a float."""
        return func.avg(column)

    def extreme(self, function: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Compute the ``min`` or ``max``."""
        return getattr(func, function)(column)  # type: ignore[no-any-return]

    def sort_key(self, expression: ColumnElement[Any]) -> ColumnElement[Any]:
        """Write what orders rows as an expression does, and compares with a value in that order."""
        return expression

    def order_joined(self, key: ColumnElement[Any]) -> ColumnElement[Any]:
        """Write a `sort_key` that comes after one of another FROM."""
        return key

    def position(self, key: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """Select what a cursor keeps of a `sort_key`: its value as the driver reads it, or its type and its text."""
        # No column of a table, whose declared type may lead a driver to read another value.
        return [func.coalesce(key, null())]

    def cursor_parameter(self, name: str, kind: str) -> ColumnElement[Any]:
        """Write the parameter that a `sort_key` is compared with.

        Args:
            name: Its name.
            kind: The type that `position` gave, if it did.
        """
        del kind
        return bindparam(name, type_=sa.types.NULLTYPE)

    def order_nulls(
        self, expression: ColumnElement[Any], *, descending: bool, nulls_first: bool
    ) -> list[ColumnElement[Any]]:
        """Write what to order by, with NULL at one end."""
        ordered = expression.desc() if descending else expression.asc()
        return [ordered.nulls_first() if nulls_first else ordered.nulls_last()]

    def _enum(self, column: ColumnElement[Any], column_type: TypeEngine[Any]) -> Fragments:
        """Write the value of a member: SQLAlchemy stores names."""
        text = cast(column, Text)
        assert isinstance(column_type, sa.Enum)  # noqa: S101 - the encoding says so
        whens = [(text == self.literal(stored), self.literal(dump(value))) for stored, value in members_of(column_type)]
        unknown = self.broken(f"a name that {column_type.enum_class.__name__} does not have")  # type: ignore[union-attr]
        return (case((column.is_(None), null()), *whens, else_=unknown),)


def literal(text: str) -> SQLText:
    """Write a text into the SQL itself, in standard SQL."""
    quoted = "'" + text.replace("'", "''") + "'"
    # SQLAlchemy looks for %(name)s in the whole SQL, and takes a key of that form for a parameter of that name.
    return literal_column(f"({quoted.replace('%(', _APART)})" if "%(" in quoted else quoted, Text)


_APART = "%' || '("


def join(*fragments: str | SQLText) -> SQLText:
    """Join fragments with ``||``, constant neighbours beforehand."""
    return _halved(merged(fragments, literal))


def merged(fragments: Iterable[str | SQLText], write: Callable[[str], SQLText]) -> list[SQLText]:
    """Write constant fragments, those that are neighbours as one."""
    parts: list[SQLText] = []
    for constant, group in groupby(fragments, key=lambda fragment: isinstance(fragment, str)):
        neighbours = list(group)
        parts += [write("".join(map(str, neighbours)))] if constant else neighbours  # type: ignore[arg-type]
    return parts


def _halved(parts: list[SQLText]) -> SQLText:
    # As a tree: a chain as long as a table is wide would go deeper than SQLite and Python do.
    if len(parts) <= _CHAIN:
        result = parts[0]
        for part in parts[1:]:
            result = result.concat(part)
        return result
    middle = len(parts) // 2
    return _halved(parts[:middle]).concat(_halved(parts[middle:]))


_CHAIN = 40


def dump(value: object) -> str:
    """Write a constant as JSON."""
    return json.dumps(value, ensure_ascii=False)


def with_commas(pieces: Iterable[Fragments]) -> list[str | SQLText]:
    """Put commas between members."""
    joined = [fragment for piece in pieces for fragment in (",", *piece)]
    return joined[1:]


def as_text(column: ColumnElement[Any], _type: TypeEngine[Any]) -> Fragments:
    """Write what is JSON already when it is cast to text."""
    return (cast(column, Text),)


def documents(
    text: SQLText, column: ColumnElement[Any], write: Callable[[str], SQLText]
) -> list[tuple[ColumnElement[bool], SQLText]]:
    """Write the branches of a CASE for stored text that has to be JSON, for databases where a column takes any.

    Args:
        text: The stored text.
        column: The column.
        write: Writes a literal.
    """
    without_nan: Any = text
    # Python's own encoder writes them, its parser takes them, and JSON does not have them.
    for name in ("-Infinity", "Infinity", "NaN"):
        without_nan = func.replace(without_nan, write(name), write("null"))
    valid = [(func.json_valid(each) == literal_column("1"), text) for each in (text, without_nan)]
    return [*valid, (column.is_not(None), write(f"{MISSING}{NOT_JSON}{MISSING}"))]


def broken(path: str) -> SQLText:
    """Write, as a plain value, that a column holds what its type does not have."""
    mark = MISSING_WITHIN.replace("\\u0001", MISSING)
    return literal(f"{mark}{path}{mark}")
