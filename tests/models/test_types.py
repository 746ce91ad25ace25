from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData, create_engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateTable

from querywright import ExactDecimal, Timestamps, UTCDateTime, UUIDKey
from querywright.models import NAMING_CONVENTION, TYPE_ANNOTATION_MAP, uuid7
from tests.suite.models import Genre


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = TYPE_ANNOTATION_MAP


class Invoice(UUIDKey, Timestamps, Base):
    __tablename__ = "invoice"

    number: Mapped[int] = mapped_column(unique=True)
    total: Mapped[Decimal] = mapped_column(ExactDecimal(12, 2))
    kind: Mapped[Genre]
    other_kind: Mapped[Genre]


NAIVE = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - naive on purpose


def test_naive_timestamps_are_refused() -> None:
    with pytest.raises(ValueError, match="needs an aware datetime"):
        UTCDateTime().process_bind_param(NAIVE, sqlite.dialect())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("value", ["0.001", "10000000000", "NaN", "Infinity", "-9999999999.999"])
def test_decimals_that_do_not_fit_are_refused(value: str) -> None:
    for dialect in (sqlite.dialect(), postgresql.dialect()):  # type: ignore[no-untyped-call]
        with pytest.raises(ValueError, match=r"ExactDecimal\(12, 2\) cannot hold"):
            ExactDecimal(12, 2).process_bind_param(Decimal(value), dialect)


@pytest.mark.parametrize(("precision", "scale"), [(19, 2), (4, 5), (4, -1)])
def test_impossible_decimals_are_refused(precision: int, scale: int) -> None:
    with pytest.raises(ValueError, match="must hold"):
        ExactDecimal(precision, scale)


@given(st.decimals(-(10**10) + 1, 10**10 - 1, places=2))
def test_decimals_survive_the_integers_of_sqlite(value: Decimal) -> None:
    kind, dialect = ExactDecimal(12, 2), sqlite.dialect()  # type: ignore[no-untyped-call]
    stored = kind.process_bind_param(value, dialect)
    assert isinstance(stored, int)
    assert str(kind.process_result_value(stored, dialect)) == str(value + Decimal("0.00"))


def test_uuid7_sorts_by_time_and_says_its_version() -> None:
    made = [uuid7() for _ in range(1000)]
    assert {key.version for key in made} == {7}
    assert {key.variant for key in made} == {uuid.RFC_4122}
    assert len(set(made)) == len(made)
    assert [key.int >> 64 for key in made] == sorted(key.int >> 64 for key in made)


def test_uuid7_carries_the_clock() -> None:
    milliseconds = uuid7().int >> 80
    made = dt.datetime.fromtimestamp(milliseconds / 1000, dt.timezone.utc)
    assert abs(dt.datetime.now(dt.timezone.utc) - made) < dt.timedelta(minutes=1)


def test_constraints_have_names() -> None:
    ddl = str(CreateTable(Invoice.__table__).compile(dialect=postgresql.dialect()))  # type: ignore[arg-type, no-untyped-call]
    for name in (
        "pk_invoice",
        "uq_invoice_number",
        "TIMESTAMP WITH TIME ZONE",
        "NUMERIC(12, 2)",
        "UUID",
        "VARCHAR(64)",
    ):
        assert name in ddl


def test_sums_and_comparisons_are_exact_on_sqlite() -> None:
    engine = create_engine("sqlite+pysqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for number, total in enumerate(("0.10", "0.20", "9999999999.99")):
            session.add(Invoice(number=number, total=Decimal(total), kind=Genre.POEM, other_kind=Genre.ESSAY))
        session.flush()
        small = select(func.sum(Invoice.total)).where(Invoice.total < Decimal("0.30"))
        assert session.scalar(small) == Decimal("0.30")
        invoice = session.scalars(select(Invoice).where(Invoice.total == Decimal("9999999999.99"))).one()
        session.refresh(invoice)
        assert (invoice.kind, invoice.other_kind) == (Genre.POEM, Genre.ESSAY)
        assert invoice.created_at.tzinfo is dt.timezone.utc
        assert invoice.id.version == 7
        before = invoice.updated_at
        invoice.total = Decimal(1)
        session.flush()
        assert invoice.updated_at > before
    engine.dispose()
