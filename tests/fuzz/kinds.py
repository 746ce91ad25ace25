"""The kinds of columns that are invented: a line for each type, with the annotations and values that it takes."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from querywright import ExactDecimal, UTCDateTime
from querywright.models import Document
from tests.fuzz.names import HARD_NAMES, MAX_BYTES, characters, texts

Values = st.SearchStrategy[Any]
SQLITE, POSTGRESQL = "sqlite", "postgresql"


@dataclass(frozen=True, repr=False)
class Kind:
    """One type of column.

    Attributes:
        name: What it is called where it fails.
        make: Make a type; types that have a name in the database get one.
        annotations: What a response model may write for it, the most likely first.
        values: The values it holds.
        key: Whether it can be a primary key.
        compared: Whether the database can compare and order its values.
        named: Whether its type has a name in the database.
        databases: Where it can be used.
    """

    name: str
    make: Callable[[str], TypeEngine[Any]]
    annotations: tuple[Any, ...]
    values: Values
    key: bool = False
    compared: bool = True
    named: bool = False
    databases: tuple[str, ...] = (SQLITE, POSTGRESQL)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def _repr_pretty_(self, printer: Any, _cycle: object) -> None:
        """Be short where Hypothesis prints a failing example."""
        printer.text(repr(self))

    @cached_property
    def values_or_none(self) -> Values:
        return st.none() | self.values


def _kind(make: Callable[[], Any], annotations: tuple[Any, ...], values: Values, **options: Any) -> Kind:
    return Kind(repr(make()), lambda _name: make(), annotations, values, **options)


def _int(bits: int) -> Values:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.timezones())  # noqa: DTZ001 - bounds are naive
_ends = st.sampled_from([dt.datetime.min, dt.datetime.max])  # noqa: DTZ901 - of a column without a time zone
_days = st.sampled_from([dt.date.min, dt.date.max]) | st.dates()
_objects = st.deferred(lambda: st.dictionaries(texts, _documents, max_size=3))
_lists = st.deferred(lambda: st.lists(_documents, max_size=3))
_finite = st.floats(-1e100, 1e100)
_infinities = st.sampled_from([math.inf, -math.inf])
_documents: Values = st.recursive(
    st.none() | st.booleans() | _int(64) | _finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
_unordered: dict[str, Any] = {"compared": False}
_lite: dict[str, Any] = {"databases": (SQLITE,)}
_pg: dict[str, Any] = {"databases": (POSTGRESQL,)}
_unordered_pg: dict[str, Any] = {**_unordered, **_pg}
_cents = st.decimals(-(10**6), 10**6, places=2)


@st.composite
def _exact_decimals(draw: st.DrawFn) -> Kind:
    precision = draw(st.integers(1, 18))
    scale = draw(st.integers(0, precision))
    largest = decimal.Decimal(10**precision - 1).scaleb(-scale)
    values = st.decimals(-largest, largest, places=scale)
    wanted = (decimal.Decimal, decimal.Decimal, float)
    return Kind(f"ExactDecimal({precision}, {scale})", lambda _name: ExactDecimal(precision, scale), wanted, values)


_ENUMS: tuple[tuple[Callable[[str, Any], Any], Values], ...] = (
    (enum.Enum, texts),
    (enum.Enum, texts | _int(64)),
    (lambda name, members: enum.Enum(name, members, type=str), texts),
    (enum.IntEnum, _int(64)),
)
_member_names = st.sampled_from(HARD_NAMES) | st.text(characters, min_size=1, max_size=8)


@st.composite
def _enums(draw: st.DrawFn) -> Kind:
    """An enumeration, stored by name or by value; members with equal values are aliases."""
    build, values = draw(st.sampled_from(_ENUMS))
    members = draw(st.dictionaries(_member_names, values, min_size=1, max_size=4))
    # Python has its own plans for names that begin with an underscore.
    cls = build("Invented", {name.replace("_", "-"): value for name, value in members.items()})
    options: dict[str, Any] = {"native_enum": draw(st.booleans())}
    storable = all(isinstance(value, str) and 0 < len(value.encode()) <= MAX_BYTES for value in members.values())
    if storable and draw(st.booleans()):
        options["values_callable"] = lambda members: [member.value for member in members]
    return Kind(
        f"Enum({members}, {options})",
        lambda name: sa.Enum(cls, name=name, **options),
        (cls,),
        st.sampled_from(cls),
        named=True,
    )


KINDS: tuple[Kind, ...] = (
    _kind(sa.Integer, (int, int, int, int, float, Any), _int(32), key=True),
    _kind(sa.BigInteger, (int,), _int(64), key=True),
    _kind(sa.SmallInteger, (int,), _int(16)),
    _kind(sa.String, (str, str, str, Any), texts, key=True),
    _kind(lambda: sa.String(60), (str,), texts, key=True),
    _kind(sa.Text, (str,), texts),
    _kind(sa.Boolean, (bool, bool, bool, Any), st.booleans()),
    _kind(sa.Float, (float, float, Any), _infinities | st.floats(allow_nan=False), **_lite),
    _kind(sa.Float, (float, float, Any), st.just(math.nan) | _infinities | st.floats(), **_pg),
    _kind(sa.Double, (float,), _infinities | st.floats(allow_nan=False)),
    _kind(lambda: sa.Numeric(12, 3), (decimal.Decimal, decimal.Decimal, float), st.decimals(-(10**8), 10**8, places=3)),
    _kind(lambda: sa.Numeric(asdecimal=False), (float,), _finite.map(lambda x: round(x, 3)), **_lite),
    _kind(sa.Numeric, (decimal.Decimal,), st.decimals(-(10**30), 10**30, places=8), **_pg),
    _kind(sa.DateTime, (dt.datetime,), _ends | st.datetimes()),
    _kind(UTCDateTime, (dt.datetime, dt.datetime, Any), _moments),
    _kind(sa.Date, (dt.date, dt.date, dt.date, dt.datetime), _days, key=True),
    _kind(sa.Time, (dt.time, dt.time, Any), st.times()),
    _kind(sa.Interval, (dt.timedelta, Any), st.timedeltas(dt.timedelta(-9000), dt.timedelta(9000))),
    _kind(sa.LargeBinary, (bytes,), st.text(max_size=5).map(str.encode)),
    _kind(lambda: sa.Uuid(as_uuid=False), (str, Any), st.uuids().map(str)),
    _kind(lambda: sa.ARRAY(sa.Integer), (list[int], list[int | None], Any), st.lists(_int(32), max_size=3), **_unordered_pg),
    _kind(lambda: sa.ARRAY(sa.Text), (list[str], tuple[str, ...]), st.lists(texts, max_size=3), **_unordered_pg),
    _kind(lambda: sa.ARRAY(sa.Double), (list[float],), st.lists(st.floats(), max_size=3), **_unordered_pg),
    _kind(lambda: sa.ARRAY(sa.Numeric(9, 2)), (list[decimal.Decimal],), st.lists(_cents, max_size=3), **_unordered_pg),
    _kind(lambda: sa.ARRAY(sa.Date), (list[dt.date],), st.lists(st.dates(), max_size=3), **_unordered_pg),
    _kind(sa.Uuid, (uuid.UUID, uuid.UUID, Any), st.uuids(), key=True),
    _kind(lambda: sa.Uuid(native_uuid=False), (uuid.UUID,), st.uuids(), key=True),
    _kind(lambda: sa.Enum("a", "b'", native_enum=False), (str,), st.sampled_from(["a", "b'"])),
    _kind(sa.JSON, (Any,), _documents, **_unordered),
    _kind(lambda: sa.JSON(none_as_null=True), (dict[str, Any], dict, Any), _objects, **_unordered),
    _kind(Document, (list[Any], list, Any), _lists),
    _kind(JSONB, (dict[str, Any],), _objects, **_pg),
)  # fmt: skip


DRAWN_KINDS: tuple[st.SearchStrategy[Kind], ...] = (_exact_decimals(), _enums())


@lru_cache
def kinds(database: str) -> st.SearchStrategy[Kind]:
    """Draw a kind of column that this database has."""
    return st.one_of(*(st.just(kind) for kind in KINDS if database in kind.databases), *DRAWN_KINDS)


key_kinds = st.sampled_from([kind for kind in KINDS if kind.key])
