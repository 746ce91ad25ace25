"""A chain of five tables, each the parent of the next, and a response model for each depth."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ForeignKey, String, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from benchmarks.models import Out
from querywright import AsyncDatabase, Base

DEPTH = 5
ROOTS = 1_000
CHILDREN = 3  # of each row


class Level1(Base):
    __tablename__ = "bench_level1"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    rows: Mapped[list[Level2]] = relationship(order_by="Level2.id")


class Level2(Base):
    __tablename__ = "bench_level2"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("bench_level1.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    rows: Mapped[list[Level3]] = relationship(order_by="Level3.id")


class Level3(Base):
    __tablename__ = "bench_level3"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("bench_level2.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    rows: Mapped[list[Level4]] = relationship(order_by="Level4.id")


class Level4(Base):
    __tablename__ = "bench_level4"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("bench_level3.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    rows: Mapped[list[Level5]] = relationship(order_by="Level5.id")


class Level5(Base):
    __tablename__ = "bench_level5"

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("bench_level4.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))


class Depth1(Out):
    id: int
    name: str


class Depth2(Depth1):
    rows: list[Depth1]


class Depth3(Depth1):
    rows: list[Depth2]


class Depth4(Depth1):
    rows: list[Depth3]


class Depth5(Depth1):
    rows: list[Depth4]


LEVELS = (Level1, Level2, Level3, Level4, Level5)
OUT: dict[int, type[Depth1]] = {1: Depth1, 2: Depth2, 3: Depth3, 4: Depth4, 5: Depth5}
MANY: dict[int, Any] = {depth: TypeAdapter(list[model]) for depth, model in OUT.items()}
TABLES = [Base.metadata.tables[level.__tablename__] for level in LEVELS]


def eager(depth: int) -> list[Any]:
    """Return the options that load so many levels with the root."""
    option: Any = None
    for level in (Level1, Level2, Level3, Level4)[: depth - 1]:
        option = selectinload(level.rows) if option is None else option.selectinload(level.rows)
    return [] if option is None else [option]


async def fill(db: AsyncDatabase) -> None:
    """Create the tables anew and fill them: 1,000 rows, 3 below each, 3 below each of those, and so on."""
    async with db.engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all, tables=TABLES)
        await connection.run_sync(Base.metadata.create_all, tables=TABLES)
        for number in range(DEPTH):
            await _fill_level(connection, number)
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))


async def _fill_level(connection: AsyncConnection, number: int) -> None:
    parent = (", parent_id", f", (n - 1) / {CHILDREN} + 1") if number else ("", "")
    await connection.execute(
        text(
            f"INSERT INTO {TABLES[number].name} (id, name{parent[0]}) "  # noqa: S608 - constants
            f"SELECT n, 'Row ' || n || ' of level {number + 1}'{parent[1]} "
            f"FROM generate_series(1, {ROOTS * CHILDREN**number}) AS n"
        )
    )
