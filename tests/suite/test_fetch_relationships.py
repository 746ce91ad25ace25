"""Relationships that no foreign key stands behind."""

from __future__ import annotations

import json

from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

from tests.suite.models import Out
from tests.suite.support import AnyDatabase, by_orm, resolve, run_sync, transaction


class Base(DeclarativeBase):
    pass


class Rate(Base):
    """Several rates have one currency."""

    __tablename__ = "rates"

    id: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(String(3))
    value: Mapped[int]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(String(3))

    newest: Mapped[Rate | None] = relationship(
        primaryjoin=lambda: Order.currency == foreign(Rate.currency),
        order_by="Rate.id.desc()",
        uselist=False,
        viewonly=True,
    )
    any_rate: Mapped[Rate | None] = relationship(
        primaryjoin=lambda: foreign(Order.currency) == Rate.currency, uselist=False, viewonly=True
    )


class RateOut(Out):
    value: int


class NewestOut(Out):
    id: int
    newest: RateOut | None


class AnyOut(Out):
    id: int
    any_rate: RateOut | None


async def test_to_one_without_a_unique_key(db: AnyDatabase) -> None:
    async with transaction(db) as tx:
        await run_sync(tx, lambda sync: Base.metadata.create_all(sync.connection()))
        tx.add_all([Rate(id=n, currency="EUR", value=n * 10) for n in (1, 3, 2)])
        tx.add_all([Order(id=1, currency="EUR"), Order(id=2, currency="USD")])
    try:
        statement = select(Order).order_by(Order.id)
        newest = await resolve(db.fetch(NewestOut, statement).json())
        assert json.loads(newest) == [{"id": 1, "newest": {"value": 30}}, {"id": 2, "newest": None}]
        rows = await resolve(db.fetch(AnyOut, statement).all())
        assert [row.id for row in rows] == [1, 2], "rows of the root are never multiplied"
        assert [row.id for row in await by_orm(db, AnyOut, select(Order).where(Order.id == 2))] == [2]
    finally:
        async with transaction(db) as tx:
            await run_sync(tx, lambda sync: Base.metadata.drop_all(sync.connection()))
