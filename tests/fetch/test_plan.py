from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Any, ClassVar, Optional

import pytest
import sqlalchemy
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    computed_field,
    create_model,
    field_serializer,
)
from sqlalchemy import Interval, LargeBinary, String, TypeDecorator, func, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, composite, mapped_column
from sqlalchemy.types import UserDefinedType

from querywright import Expr, Latest, Many, ShapeError, Sum
from querywright.fetching.plan.nodes import Scalar, ToMany, ToOne
from querywright.fetching.plan.planner import plan
from tests.suite.models import Author, Book, Everything, EverythingOut, Genre, NameOut, TagOut

VERSION = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])


def model(**fields: Any) -> type[BaseModel]:
    return create_model("M", **{name: (annotation, ...) for name, annotation in fields.items()})


def plan_of(response: type[BaseModel], cls: type = Author) -> Any:
    return plan(response, inspect(cls))


class Nested(BaseModel):
    id: int
    pupils: list[Nested]


class Misspelt(BaseModel):
    nmae: str


class InBooks(BaseModel):
    books: list[Misspelt]


class Loose(BaseModel):
    email: str


class ThroughAPath(BaseModel):
    name: str | None = Field(validation_alias=AliasChoices(AliasPath("mentor", "name"), "name"))


class OneKeyForTwo(BaseModel):
    email: str | None = Field(validation_alias="key")
    name: str = Field(validation_alias="key")


class BehindAnother(BaseModel):
    found: Annotated[list[NameOut], Many("pupils")]
    name: str = Field(validation_alias=AliasChoices(AliasPath("found", 0), "name"))


class ReadThroughPython(BaseModel):
    text: str = Field(validation_alias="initials")


class Base(DeclarativeBase):
    pass


class Initialled(Base):
    __tablename__ = "initialled"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    meta: Mapped[str]

    @property
    def initials(self) -> str:
        return self.text[:1]


class OfTheBase(BaseModel):
    text: str = Field(alias="metadata")
    meta: str = Field(alias="registry")


def test_what_every_mapped_class_has_is_no_value_of_a_row() -> None:
    fields = plan_of(OfTheBase, Initialled).root.fields
    assert [field.value.source for field in fields] == ["text", "meta"]


class Told(Base):
    __tablename__ = "told"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind = mapped_column(String)
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_on": func.lower(kind.column), "polymorphic_identity": "a"}


class ToldToo(Told):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "b"}


REFUSED = {
    "misspelt": (Misspelt, Author, "Misspelt.nmae: Author has no attribute 'nmae'. Did you mean 'name'?"),
    "misspelt inside": (InBooks, Author, "InBooks.books[].nmae: Book has no attribute 'nmae'. It has author, "),
    "nested in itself": (Nested, Author, "Nested.pupils[]: Nested is nested in itself. Declare one model for each"),
    "nullable": (Loose, Author, "Loose.email: Author.email may be NULL, the field may not. Write str | None, or"),
    "nullable relationship": (model(mentor=NameOut), Author, "M.mentor: Author.mentor may lead to no row"),
    "one-to-one": (model(profile=TagOut), Author, "M.profile: Author.profile may lead to no row"),
    "list of one": (model(mentor=list[NameOut]), Author, "M.mentor: Author.mentor leads to at most one row"),
    "one of many": (model(books=NameOut), Author, "M.books: Author.books leads to many rows, the field does not."),
    "column as model": (model(name=NameOut), Author, "M.name: Author.name is a column, the field wants NameOut."),
    "relationship as value": (model(books=int), Author, "M.books: Author.books is a relationship, the field wants int"),
    "list of values": (model(books=list[int]), Author, "M.books: Author.books is a relationship"),
    "UUID as text": (model(id=str), Everything, "M.id: Everything.id holds a UUID, the field wants str. Annotate it"),
    "timestamp as text": (model(moment=str), Everything, "Everything.moment holds a timestamp in UTC"),
    "enum as text": (model(genre=str), Everything, "holds an enum, the field wants str. Annotate it as Genre."),
    "no fields": (model(), Author, "M: M has no fields."),
    "latest by a column": (
        model(books=Annotated[NameOut | None, Latest("books", by=Book.id)]),
        Author,
        "M.books: its by=",
    ),
    "sum of a column": (
        model(books=Annotated[int, Sum("books", of=Book.pages)]),
        Author,
        "M.books: its of= is Book.pag",
    ),
    "a column as Expr": (
        model(books=Annotated[int, Expr(Author.id)]),
        Author,
        "M.books: its expression of Author is ma",
    ),
    "told by an expression": (RootModel[Loose | Misspelt], Told, "Told tells its classes apart by an expression that"),
    "alias of a path": (
        ThroughAPath,
        Author,
        "ThroughAPath.name: its validation alias is a path that begins",
    ),
    "one key for two": (
        OneKeyForTwo,
        Author,
        "OneKeyForTwo.name: its model takes it from the key 'key', which is",
    ),
    "behind another": (BehindAnother, Author, "BehindAnother.name: its model takes it from the key 'found'"),
    "alias of a property": (
        ReadThroughPython,
        Initialled,
        "Initialled.initials is neither a column nor a relat",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    response, cls, message = REFUSED[name]
    with pytest.raises(ShapeError) as caught:
        plan_of(response, cls)
    assert str(message) in str(caught.value)


def test_error_carries_its_data() -> None:
    with pytest.raises(ShapeError) as caught:
        plan_of(InBooks)
    assert caught.value.path == "InBooks.books[].nmae"
    assert caught.value.reason == "Book has no attribute 'nmae'."
    assert caught.value.hint.startswith("It has")


class Shout(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.upper()


class Odd(DeclarativeBase):
    pass


class Hidden(TypeDecorator[str]):
    """Changes in SQL what is read."""

    impl = String
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return func.lower(column)


class Trimmed(String):
    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return str.strip


class Thing(UserDefinedType[Any]):
    pass


class Odds(Odd):
    __tablename__ = "odds"
    thing: Mapped[Any] = mapped_column(Thing)
    hidden: Mapped[str] = mapped_column(Hidden)
    trimmed: Mapped[str] = mapped_column(Trimmed)
    id: Mapped[int] = mapped_column(primary_key=True)
    shout: Mapped[str] = mapped_column(Shout)
    blob: Mapped[bytes] = mapped_column(LargeBinary)
    span: Mapped[dt.timedelta] = mapped_column(Interval)

    @property
    def plain(self) -> int:
        return 1


@pytest.mark.parametrize("name", ["shout", "blob", "span", "trimmed"])
def test_types_that_only_python_can_read_are_left_to_the_model(name: str) -> None:
    planned = plan_of(model(**{name: Any}), Odds)
    assert planned.convert
    assert "Pydantic has to make Any of" in planned.root.fields[0].reason


def test_what_a_type_does_in_sql_stays_in_sql() -> None:
    assert plan_of(model(hidden=str), Odds).exact


def test_types_that_nobody_knows_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"M\.thing: Odds\.thing has the type Thing\(\), which Querywright cannot read"
    ):
        plan_of(model(thing=Any), Odds)


def test_properties_without_an_attribute_are_refused() -> None:
    class Base(DeclarativeBase):
        pass

    class Sort(Base):
        __tablename__ = "sorts"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class Thing(Base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        sort_id: Mapped[int]

    things = Thing.metadata.tables["things"]
    with_sort = select(things, Sort.name.label("sort")).join(Sort, Sort.id == things.c.sort_id).subquery()
    Base.registry.map_imperatively(
        type("Sorted", (), {}), things, with_polymorphic=("*", with_sort), polymorphic_on=with_sort.c.sort
    )
    [mapper] = [mapper for mapper in Base.registry.mappers if mapper.class_.__name__ == "Sorted"]
    with pytest.raises(ShapeError, match=r"Sorted has no attribute 'sort'. Did you mean 'sort_id'?"):
        plan(model(sort=str), mapper)


@dataclasses.dataclass
class Point:
    x: int | None
    y: int | None


class PointOut(BaseModel):
    y: int | None


# Each says when a composite is None; what SQL cannot know is refused.
RULES: dict[str, tuple[Any, Any, str]] = {
    "all": (lambda x, y: x is None and y is None, PointOut | None, ""),
    "never": (None, PointOut, ""),
    "all, where it is required": (lambda *given: set(given) == {None}, PointOut, "may be None, the field does not"),
    "one": (lambda _x, y: y is None, PointOut | None, "is None by a rule of its own"),
    "a value": (lambda x, _y: x == 0, PointOut | None, "is None by a rule of its own"),
    "an error": (lambda x, y: (x or 0) + (y or 0) == 0, PointOut | None, "is None by a rule of its own"),
}


@pytest.mark.skipif(VERSION < (2, 1), reason="composite(return_none_on=) came with SQLAlchemy 2.1")
@pytest.mark.parametrize("name", RULES)
def test_composites_that_may_be_none(name: str) -> None:
    rule, annotation, reason = RULES[name]

    class Base(DeclarativeBase):
        pass

    class Edge(Base):
        __tablename__ = "edges"
        id: Mapped[int] = mapped_column(primary_key=True)
        x: Mapped[int | None]
        y: Mapped[int | None]
        point: Mapped[Point] = composite(Point, "x", "y", return_none_on=rule)

    if reason:
        with pytest.raises(ShapeError, match=reason):
            plan_of(model(point=annotation), Edge)
    else:
        [field] = plan_of(model(point=annotation), Edge).root.fields
        assert field.value.columns == (("x", "y") if rule else ())


def test_plain_kinds_of_fields() -> None:
    fields = plan_of(model(id=int, mentor=Optional[NameOut], books=list[TagOutOfBook])).root.fields  # noqa: UP045 - the old spelling
    assert [type(field.value) for field in fields] == [Scalar, ToOne, ToMany]
    assert [field.path for field in fields] == ["M.id", "M.mentor", "M.books"]


class TagOutOfBook(BaseModel):
    title: str


def test_planned_once() -> None:
    assert plan_of(NameOut) is plan_of(NameOut)


class Validated(BaseModel):
    name: Annotated[str, BeforeValidator(str.strip)]


class Constrained(BaseModel):
    name: str = Field(max_length=3)


class Serialized(BaseModel):
    name: str

    @field_serializer("name")
    def shout(self, value: str) -> str:
        return value.upper()


class Computed(BaseModel):
    name: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.name)


class Configured(BaseModel):
    model_config = ConfigDict(str_to_upper=True)
    name: str


class Excluded(BaseModel):
    name: str = Field(exclude=True)
    id: int


class Dumping(BaseModel):
    name: str

    def model_post_init(self, _context: Any, /) -> None:
        self.name = "!"


@pytest.mark.parametrize("response", [Validated, Constrained, Serialized, Computed, Configured, Dumping])
def test_models_that_change_values_write_their_own_json(response: type[BaseModel]) -> None:
    assert not plan_of(response).exact
    outer = create_model("Outer", mentor=(response | None, ...))
    assert not plan_of(outer).exact


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True, frozen=True, extra="forbid", from_attributes=True)
    name: str = Field(serialization_alias="Name", validation_alias="n", description="what it is called")


def test_neutral_models_are_exact() -> None:
    planned = plan_of(Aliased)
    assert planned.exact
    assert (planned.root.fields[0].key, planned.root.fields[0].input_key) == ("Name", "n")
    assert plan_of(EverythingOut, Everything).exact


@pytest.mark.parametrize(
    ("annotation", "column", "exact"),
    [
        (int, "number", True),
        (float, "number", False),
        (float, "price", False),
        (decimal.Decimal, "price", True),
        (dt.datetime, "day", False),
        (uuid.UUID, "id", True),
        (Genre, "genre", True),
        (Any, "data", True),
        (dict[str, int], "data", False),
    ],
)
def test_annotations_that_sql_writes_exactly(annotation: Any, column: str, exact: bool) -> None:  # noqa: FBT001 - a table
    assert plan_of(model(**{column: annotation}), Everything).exact is exact


class Mixed(enum.Enum):
    TEXT = "a"
    PAIR = (1, 2)


class Mixes(Odd):
    __tablename__ = "mixes"
    id: Mapped[int] = mapped_column(primary_key=True)
    mixed: Mapped[Mixed]


def test_enums_of_odd_values_are_read_by_name() -> None:
    planned = plan_of(model(mixed=Mixed), Mixes)
    assert (planned.exact, planned.convert) == (False, True)


def test_to_one_by_foreign_key_may_be_required() -> None:
    [field] = plan_of(model(author=NameOut), Book).root.fields
    assert isinstance(field.value, ToOne)
    assert not field.value.nullable
