"""Descriptors over mapped attributes: what an ORM object reads through Python, SQL must not read past it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import create_model
from sqlalchemy import ARRAY, JSON, ForeignKey, String, case, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    column_property,
    mapped_column,
    reconstructor,
    relationship,
    synonym,
    synonym_for,
    validates,
)

from querywright import Expr, Many, ShapeError
from querywright.fetching.mapping import bounded
from tests.suite.models import Out
from tests.suite.support import AnyDatabase, add, by_orm, resolve
from tests.tables import needs

ONE = pytest.mark.drivers("sqlite+pysqlite")


class Tables(DeclarativeBase):
    pass


class Doctor(Tables):
    __tablename__ = "doctors"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(9))
    _name: Mapped[str] = mapped_column("name", String(9))
    title: Mapped[str] = mapped_column(String(9))
    town: Mapped[str | None] = mapped_column(String(9))
    leader_id: Mapped[int | None] = mapped_column(ForeignKey("doctors.id"))

    also = synonym("title")
    again = synonym("also")
    given = synonym("title", descriptor=property(lambda _self: "given"))
    mixed = synonym("title", descriptor=hybrid_property(lambda self: self.title + "?"))
    whole: Mapped[str] = column_property(title + "!")
    whole_again = synonym("whole")
    leader: Mapped[Doctor | None] = relationship(remote_side=[id])
    chief = synonym("leader")
    leader_name: AssociationProxy[str | None] = association_proxy("leader", "also")
    leader_of_leader: AssociationProxy[str | None] = association_proxy("leader", "leader_name")
    leader_shout: AssociationProxy[str | None] = association_proxy("leader", "shout")
    leader_drs: AssociationProxy[str | None] = association_proxy("leader", "name")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "doctor"}  # noqa: RUF012 - SQLAlchemy's own

    @synonym_for("_name")
    @property
    def name(self) -> str:
        return f"Dr. {self._name}"

    @hybrid_property
    def shout(self) -> Any:
        return self.also + "!"

    shout_again = synonym("shout")

    @hybrid_property
    def calm(self) -> Any:
        return self.title + "."

    @validates("title")
    def _shorten(self, _key: str, title: str) -> str:
        return title[:3]

    @reconstructor
    def _load(self) -> None:
        self.loaded = True


class Surgeon(Doctor):
    __mapper_args__ = {"polymorphic_identity": "surgeon"}  # noqa: RUF012 - SQLAlchemy's own

    @property
    def town(self) -> str:  # type: ignore[override]
        return "operating"

    @hybrid_property
    def calm(self) -> Any:
        return self.title + "?"


class Watched(Tables):
    __tablename__ = "watched"

    id: Mapped[int] = mapped_column(primary_key=True)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return value + 1 if name == "id" else value


class Endless(Tables):
    __tablename__ = "endless"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list[str]] = mapped_column(ARRAY(String(9)).with_variant(JSON, "sqlite", "mysql", "mariadb"))
    data: Mapped[Any] = mapped_column(JSON)

    @hybrid_property
    def listed(self) -> Any:
        return [tag for tag in self.tags]  # noqa: C416 - a list of what never ends

    @hybrid_property
    def joined(self) -> str:
        return ",".join(self.data)

    @hybrid_property
    def counted(self) -> int:
        number = 0
        while self.id != number:
            number -= 1
        return number

    @hybrid_property
    def caught(self) -> int:
        while True:
            try:
                return int(self.id)
            except Exception:  # noqa: BLE001, S112 - on purpose: it goes on
                continue

    @hybrid_property
    def recursive(self) -> Any:
        return self.recursive

    @hybrid_property
    def long(self) -> Any:
        return case(*[(self.id == number, number) for number in range(300)], else_=-1)


@pytest.fixture
@needs(Tables.metadata)
async def doctors(db: AnyDatabase) -> AnyDatabase:
    await add(db, Doctor(id=1, kind="doctor", _name="Who", title="first", town="London"))
    await add(db, Doctor(id=2, _name="Moe", title="second", leader_id=1))
    await add(db, Surgeon(id=3, _name="Cut", title="third", leader_id=2))
    await add(db, Endless(id=7, tags=["a"], data=["b"]))
    return db


class LeaderOut(Out):
    title: str


READ = {
    "title": str, "also": str, "again": str, "whole": str, "whole_again": str, "leader": LeaderOut | None,
    "chief": LeaderOut | None, "leader_name": str | None, "leader_of_leader": str | None, "leader_shout": str | None,
    "shout": str, "shout_again": str,
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
async def test_what_is_read_as_stored(doctors: AnyDatabase, name: str) -> None:
    model = create_model("DoctorOut", __base__=Out, **{name: (READ[name], ...)})  # type: ignore[call-overload]
    statement = select(Doctor).order_by(Doctor.id)
    expected = await by_orm(doctors, model, statement)
    assert await resolve(doctors.fetch(model, statement).all()) == expected
    other = aliased(Doctor)
    renamed = select(other).where(other.id > 1).order_by(other.id)
    assert await resolve(doctors.fetch(model, renamed).all()) == expected[1:]


@ONE
@pytest.mark.parametrize("name", ["name", "given", "mixed", "leader_drs"])
async def test_python_over_a_column_is_refused(doctors: AnyDatabase, name: str) -> None:
    model = create_model("DoctorOut", __base__=Out, **{name: (str | None, ...)})  # type: ignore[call-overload]
    with pytest.raises(ShapeError, match=rf"DoctorOut.{name}: Doctor.\w+ is read through Python"):
        await resolve(doctors.fetch(model, select(Doctor)).all())


@ONE
async def test_what_a_class_below_reads_otherwise_is_refused(doctors: AnyDatabase) -> None:
    """One statement would give a surgeon what only a doctor has."""
    for name, reason in (("town", "Surgeon.town is read through Python"), ("calm", "Surgeon replaces Doctor.calm")):
        model = create_model("DoctorOut", __base__=Out, **{name: (str | None, ...)})  # type: ignore[call-overload]
        with pytest.raises(ShapeError, match=reason):
            await resolve(doctors.fetch(model, select(Doctor)).all())
    calm = create_model("SurgeonOut", __base__=Out, calm=(str, ...))
    assert await resolve(doctors.fetch(calm, select(Surgeon)).all()) == await by_orm(doctors, calm, select(Surgeon))


@ONE
async def test_a_class_that_reads_everything_otherwise_is_refused(doctors: AnyDatabase) -> None:
    model = create_model("WatchedOut", __base__=Out, id=(int, ...))
    with pytest.raises(ShapeError, match="Watched reads all attributes through a __getattribute__ of its own"):
        await resolve(doctors.fetch(model, select(Watched)).all())


ENDLESS = ["listed", "joined", "counted", "caught"]


@ONE
@pytest.mark.parametrize("name", [*ENDLESS, "recursive"])
async def test_a_hybrid_that_never_ends(doctors: AnyDatabase, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(bounded, "_MOST_LINES", 100_000)
    model = create_model("EndlessOut", __base__=Out, **{name: (Any, ...)})  # type: ignore[call-overload]
    with pytest.raises(ShapeError, match=f"EndlessOut.{name}: Endless.{name} is a hybrid.*Give it an expression"):
        await resolve(doctors.fetch(model, select(Endless)).all())
    if name != "recursive":
        with pytest.raises(ShapeError, match="does not end within 100,000 lines of Python"):
            await resolve(doctors.fetch(model, select(Endless)).all())


@ONE
async def test_any_function_that_never_ends(doctors: AnyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_MOST_LINES", 100_000)
    endless: Any = lambda endless: func.coalesce(*endless.tags)  # noqa: E731 - as a marker has it
    with pytest.raises(ShapeError, match="does not end within"):
        model = create_model("EndlessOut", __base__=Out, id=(Annotated[int, Expr(endless)], ...))
        await resolve(doctors.fetch(model, select(Endless)).all())
    for options in ({"where": lambda _row: [*Endless.data]}, {"order_by": lambda _row: [*Endless.data]}):
        with pytest.raises(ShapeError, match="does not end within"):
            marker: Any = Many("leader", **options)
            model = create_model("DoctorOut", __base__=Out, id=(Annotated[list[LeaderOut], marker], ...))
            await resolve(doctors.fetch(model, select(Doctor)).all())


async def test_a_hybrid_that_takes_long(doctors: AnyDatabase) -> None:
    model = create_model("EndlessOut", __base__=Out, long=(int, ...))
    assert await resolve(doctors.fetch(model, select(Endless)).json()) == b'[{"long":7}]'
