"""The comparison with SQLAlchemy's tests finds what is wrong, and leaves no trace in the test that it looks at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Select, bindparam, create_engine, event, func, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from querywright import fetch
from tests.differential import verbs
from tests.differential.explained import Explained
from tests.differential.oracle import Oracle, Quiet
from tests.differential.report import SEEN, tally
from tests.differential.trees import same
from tests.differential.verbs import compare
from tests.differential.watch import kind_of


class Base(DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    children: Mapped[list[Child]] = relationship(back_populates="parent", order_by="Child.id")


class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"))
    parent: Mapped[Parent] = relationship(back_populates="children")


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Parent(id=n, name="ab"[n % 2], children=[Child(id=n * 10 + m) for m in range(n)]) for n in range(4)
        )
        session.flush()
        yield session
    engine.dispose()


def outcomes(session: Session, statement: Select[Any]) -> dict[str, str]:
    quiet = Quiet(session.connection())
    with Oracle.of(quiet, statement, {}, {}) as oracle:
        found = compare(oracle, statement, set(), 1)
    return {verb: state for verb, (state, _) in found.verbs.items()}


VERBS = {"all", "json", "levels", "stream", "count", "page forward", "page backward", "page number"}


def test_what_is_right_is_the_same(session: Session) -> None:
    assert outcomes(session, select(Parent).order_by(Parent.name)) == dict.fromkeys(VERBS, "same")


def test_what_is_wrong_is_found(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_row_less(bind: Any, model: Any, statement: Any, *rest: Any, **options: Any) -> Any:
        return fetch(bind, model, statement.where(Parent.id > 0), *rest, **options)

    monkeypatch.setattr(verbs, "fetch", one_row_less)
    assert outcomes(session, select(Parent)) == dict.fromkeys(VERBS, "different")


def test_a_wrong_order_is_found(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(bind: Any, model: Any, statement: Any, *rest: Any, **options: Any) -> Any:
        return fetch(bind, model, statement.order_by(None).order_by(Parent.name.desc()), *rest, **options)

    monkeypatch.setattr(verbs, "fetch", backwards)
    found = outcomes(session, select(Parent).order_by(Parent.name))
    assert {verb for verb, state in found.items() if state == "different"} == VERBS - {"count"}


def test_what_pydantic_refuses_fetch_has_to_refuse(session: Session) -> None:
    session.execute(update(Child).values(parent_id=99))
    found = outcomes(session, select(Parent).select_from(Child).outerjoin(Parent, Parent.id == Child.parent_id))
    assert found["invalid 0"] == "same"


def test_the_test_does_not_notice(session: Session) -> None:
    loaded = session.scalars(select(Parent)).all()
    statements: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *given: statements.append(given[2]))
    event.listen(session, "do_orm_execute", lambda state: statements.append(str(state.statement)))
    outcomes(session, select(Parent))
    assert statements == []
    assert all(parent in session for parent in loaded)
    # Neither rolled back nor committed.
    assert session.scalar(select(func.count()).select_from(Parent)) == 4
    session.rollback()
    assert session.scalar(select(func.count()).select_from(Parent)) == 0


def test_rows_that_are_equal_in_the_order_may_come_in_any() -> None:
    assert same(["a", "b", "c"], ["b", "a", "c"], lambda: [1, 1, 2])
    assert not same(["a", "b", "c"], ["b", "a", "c"], lambda: [1, 2, 2])
    assert same(["a", "b"], ["b", "a"], lambda: None)
    assert not same(["a", "b"], ["a", "a"], lambda: None)


KINDS = {
    SEEN: select(Parent).where(Parent.id == bindparam("id")),
    "no single entity": select(Parent, Child),
    "rows that are written as well": select(Parent).join(
        insert(Child).values(id=1).returning(Child.parent_id).cte(), Parent.id == 1
    ),
    "a Update": update(Parent).values(name="x"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_statements(kind: str) -> None:
    assert kind_of(KINDS[kind], {}) == kind


def test_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Explained("test_known", "the test changes what is loaded", why="new name")
    monkeypatch.setattr("tests.differential.report.EXPLAINED", (known,))
    right = {"all": ("same", ""), "page forward": ("refused", "statement: it has a limit of its own.")}
    seen: list[dict[str, Any]] = [
        {"test": "a", "kind": "no single entity"},
        {"test": "a", "kind": SEEN, "verbs": right},
        {"test": "a", "kind": SEEN, "verbs": {"all": ("repeated", "")}},
        {"test": "a", "kind": SEEN, "verbs": {"all": ("refused", "UserOut.name: User.name has the type X.")}},
        {"test": "test_known", "kind": SEEN, "verbs": {"all": ("different", "new name"), "json": ("different", "old")}},
        {"test": "test_known", "kind": SEEN, "verbs": {"all": ("different", "the new name")}},
        {"test": "a", "kind": SEEN, "unseen": "TimeoutError: no end"},
    ]
    found = tally(json.dumps(line) for line in seen)
    assert (found.seen, found.compared, found.repeated) == (6, 3, 1)
    assert found.refused == {"X.y has the type X.": 1}
    assert found.beyond == {"TimeoutError: no end": 1}
    assert found.pages_refused == {"it has a limit of its own.": 1}
    assert found.explained == {known: 2}
    assert [line["left"] for line in found.wrong] == [{"json": "old"}]
    assert not found.good
