"""Mapped classes whose relationships lead through aliases, joins, inequalities and unions instead of foreign keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import Column, ForeignKey, Integer, String, Table, and_, func, join, or_, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.declarative import ConcreteBase
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    configure_mappers,
    foreign,
    mapped_column,
    polymorphic_union,
    query_expression,
    relationship,
    remote,
    with_polymorphic,
)


class PathBase(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(50)}


class Account(PathBase):
    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    level: Mapped[int]
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))

    boss: Mapped[Account | None] = relationship(remote_side=[id])
    logs: Mapped[list[Log]] = relationship(order_by="Log.id")
    log_texts: AssociationProxy[list[str]] = association_proxy("logs", "text")
    boss_texts: AssociationProxy[list[str]] = association_proxy("boss", "log_texts")
    people: Mapped[list[Person]] = relationship(order_by="people.c.name")
    vehicles: Mapped[list[Vehicle]] = relationship(order_by=lambda: (Vehicle.name, Vehicle.id))


class Log(PathBase):
    __tablename__ = "logs"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    text: Mapped[str]
    public: Mapped[bool]
    weight: Mapped[int]

    remark: Mapped[str | None] = query_expression()
    parts: Mapped[list[Part]] = relationship(order_by="Part.id")


class Part(PathBase):
    __tablename__ = "parts"

    id: Mapped[int] = mapped_column(primary_key=True)
    log_id: Mapped[int] = mapped_column(ForeignKey("logs.id"))
    grade_id: Mapped[int | None] = mapped_column(ForeignKey("grades.id"))


class Grade(PathBase):
    """Reached from an account by what it has at least."""

    __tablename__ = "grades"

    id: Mapped[int] = mapped_column(primary_key=True)
    least: Mapped[int]
    label: Mapped[str]


class Tagging(PathBase):
    """Pairs rows more than once."""

    __tablename__ = "taggings"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    grade_id: Mapped[int] = mapped_column(ForeignKey("grades.id"))


_people = Table(
    "people",
    PathBase.metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("name", String(50), nullable=False),
    Column("kind", String(50), nullable=False),
)
_engineers = Table(
    "engineers",
    PathBase.metadata,
    Column("id", ForeignKey("people.id"), primary_key=True),
    Column("language", String(50), nullable=False),
)
_managers = Table(
    "managers",
    PathBase.metadata,
    Column("id", ForeignKey("people.id"), primary_key=True),
    Column("desk", String(50), nullable=False),
)
_union = polymorphic_union(
    {"engineer": join(_people, _engineers), "manager": join(_people, _managers)}, None, "persons"
)


class Person(PathBase):
    """Loaded through a union of its subclasses' tables."""

    __table__ = _people
    __mapper_args__: ClassVar[dict[str, Any]] = {"with_polymorphic": ("*", _union), "polymorphic_on": _union.c.kind}

    notes: Mapped[list[Note]] = relationship(order_by="Note.id")


class Engineer(Person):
    __table__ = _engineers
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_identity": "engineer",
        "inherit_condition": _engineers.c.id == _people.c.id,
    }


class Manager(Person):
    __table__ = _managers
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_identity": "manager",
        "inherit_condition": _managers.c.id == _people.c.id,
    }


class Note(PathBase):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))


class Vehicle(ConcreteBase, PathBase):
    """Each class has a table, and keys, of its own."""

    __tablename__ = "vehicles"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]

    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "vehicle", "concrete": True}


class Truck(Vehicle):
    __tablename__ = "trucks"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    name: Mapped[str]
    load: Mapped[int]

    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "truck", "concrete": True}


_ranked = select(
    Log, func.row_number().over(partition_by=Log.account_id, order_by=Log.weight.desc()).label("rank")
).subquery()
_Ranked = aliased(Log, _ranked)
_Public = aliased(Log, select(Log).where(Log.public).cte("public_logs"))
_Plain = aliased(Log)
_parted = join(Log.__table__, Part.__table__, Log.__table__.c.id == Part.__table__.c.log_id)
_Parted = aliased(Log, _parted)
_latest = select(Log).where(Log.account_id == Account.id).order_by(Log.weight.desc()).limit(1).correlate(Account)
_Latest = aliased(Log, _latest.subquery().lateral())
_Other = aliased(Log)
_Next = aliased(Account)
_Third = aliased(Account)
_least = select(func.min(_Other.weight)).where(_Other.account_id == Account.id).scalar_subquery()
_Doubled = aliased(Log, select(Log).join(Part, Part.log_id == Log.id).subquery())
_Persons = with_polymorphic(Person, [Engineer, Manager], _union)


def _lightest(weight: Callable[[], Any]) -> Any:
    return relationship(
        Log,
        primaryjoin=lambda: and_(Account.id == foreign(Log.account_id), Log.weight == weight()),
        order_by=Log.id,
        viewonly=True,
    )


def _graded(far: Callable[[], Any]) -> Any:
    """Lead to what is a part of what it goes through."""
    return relationship(
        Grade,
        secondary=lambda: join(Tagging.__table__, Grade.__table__, Tagging.grade_id == Grade.id),
        primaryjoin=lambda: Account.id == Tagging.account_id,
        secondaryjoin=far,
        order_by=Grade.id,
        viewonly=True,
    )


def _add(**relationships: Any) -> None:
    for name, made in relationships.items():
        setattr(Account, name, made)


_add(
    heaviest=relationship(
        _Ranked,
        primaryjoin=and_(_Ranked.account_id == Account.id, _ranked.c.rank <= 2),
        order_by=_ranked.c.rank,
        viewonly=True,
    ),
    top=relationship(
        _Ranked,
        primaryjoin=and_(_Ranked.account_id == Account.id, _ranked.c.rank == 1),
        uselist=False,
        viewonly=True,
    ),
    public=relationship(
        _Public, primaryjoin=Account.id == foreign(_Public.account_id), order_by=_Public.id, viewonly=True
    ),
    plain=relationship(_Plain, primaryjoin=_Plain.account_id == Account.id, order_by=_Plain.id.desc(), viewonly=True),
    parted=relationship(_Parted, primaryjoin=_Parted.account_id == Account.id, order_by=Log.id, viewonly=True),
    doubled=relationship(_Doubled, primaryjoin=_Doubled.account_id == Account.id, order_by=_Doubled.id, viewonly=True),
    lateral=relationship(_Latest, primaryjoin=foreign(_Latest.account_id) == Account.id, uselist=False, viewonly=True),
    colleagues=relationship(
        _Persons, primaryjoin=_Persons.account_id == Account.id, order_by=_Persons.id.desc(), viewonly=True
    ),
    grades=relationship(
        Grade,
        secondary=_parted,
        primaryjoin=lambda: Account.id == Log.__table__.c.account_id,
        secondaryjoin=lambda: Grade.id == Part.__table__.c.grade_id,
        order_by=Grade.id,
        viewonly=True,
    ),
    a_grade=relationship(
        Grade,
        secondary=_parted,
        primaryjoin=lambda: Account.id == Log.__table__.c.account_id,
        secondaryjoin=lambda: Grade.id == Part.__table__.c.grade_id,
        order_by=(Grade.least.desc(), Grade.id),
        uselist=False,
        viewonly=True,
    ),
    nexts=relationship(
        _Next,
        primaryjoin=lambda: and_(
            foreign(_Next.level) > Account.level,
            _Next.level == select(func.min(_Third.level)).where(_Third.level > Account.level).scalar_subquery(),
        ),
        viewonly=True,
    ),
    lightest=_lightest(lambda: _least.correlate(Account)),
    lightest_by_itself=_lightest(lambda: _least),
    lightest_except=_lightest(lambda: _least.correlate_except(_Other)),
    # SQLAlchemy takes the ids for equal, and one of them for the key of the join.
    crossed=relationship(
        Part,
        secondary=lambda: join(
            Log.__table__, Tagging.__table__, or_(Log.id == Tagging.id, Log.weight == Tagging.grade_id)
        ),
        primaryjoin=lambda: Account.id == Tagging.account_id,
        secondaryjoin=lambda: Log.id == foreign(Part.log_id),
        order_by=Part.id,
        viewonly=True,
    ),
    graded=_graded(lambda: Grade.id == Tagging.grade_id),
    graded_itself=_graded(lambda: foreign(Grade.id) == Grade.id),
    tags=relationship(Grade, secondary=Tagging.__table__, order_by=Grade.id, viewonly=True),
    reached=relationship(
        Grade,
        primaryjoin=lambda: foreign(Account.level) >= remote(Grade.least),
        order_by=(Grade.least.desc(), Grade.id),
        uselist=False,
        viewonly=True,
    ),
    either=relationship(
        Grade,
        primaryjoin=lambda: or_(
            foreign(Account.level) == remote(Grade.id), foreign(Account.boss_id) == remote(Grade.id)
        ),
        order_by=Grade.id,
        uselist=False,
        viewonly=True,
    ),
    spelt=relationship(
        Grade,
        primaryjoin=lambda: func.lower(foreign(Account.name)) == func.lower(remote(Grade.label)),
        order_by=Grade.id.desc(),
        uselist=False,
        viewonly=True,
    ),
    all_reached=relationship(
        Grade,
        primaryjoin=lambda: foreign(Account.level) >= remote(Grade.least),
        order_by=(Grade.least, Grade.id),
        uselist=True,
        viewonly=True,
    ),
)
configure_mappers()


def some_paths() -> list[list[Any]]:
    """Rows to add, in steps."""
    return [
        [Account(id=n, name=f"name {n}", level=n, boss_id=n - 1 if n > 1 else None) for n in range(1, 5)],
        [Grade(id=n, least=n % 4, label=f"NAME {n % 3}") for n in range(1, 7)],
        [Log(id=n, account_id=n % 3 + 1, text=f"text {n}", public=n % 2 == 0, weight=n * 7 % 10) for n in range(1, 11)],
        [Part(id=n, log_id=n % 4 + 1, grade_id=n % 6 + 1 if n % 5 else None) for n in range(1, 13)],
        [Tagging(id=n, account_id=n % 2 + 1, grade_id=n % 3 + 1) for n in range(1, 13)],
        [Engineer(account_id=n % 2 + 1, name=f"e{9 - n}", language="x") for n in range(3)],
        [Manager(account_id=n % 2 + 1, name=f"e{8 - n}", desk="y") for n in range(3)],
        [Note(person_id=n % 6 + 1) for n in range(9)],
        [Vehicle(id=n, account_id=n % 2 + 1, name=f"v{n % 2}") for n in range(1, 5)],
        [Truck(id=n, account_id=n % 2 + 1, name=f"v{n % 3}", load=n) for n in range(1, 5)],
    ]
