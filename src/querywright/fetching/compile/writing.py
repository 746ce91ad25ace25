"""What the modules that write parts of a statement ask of the compiler that writes the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import Mapper

from querywright.fetching.compile.joins import Joins
from querywright.fetching.compile.related import Criteria, Level
from querywright.fetching.plan.nodes import Groups, Node, Scalar, ToMany, ToOne
from querywright.fetching.writers import JsonWriter, SQLText

__all__ = ["Compiler"]


class Compiler(Protocol):
    """Writes the nodes of a plan as JSON text."""

    @property
    def writer(self) -> JsonWriter:
        """How the database writes JSON."""
        ...

    @property
    def joins(self) -> Joins:
        """Joins related rows."""
        ...

    @property
    def criteria(self) -> Criteria:
        """The filters that hold for related rows."""
        ...

    def enter(self, node: ToOne | ToMany | Groups, level: Level) -> Level:
        """Follow a relationship, and join what is written of its rows."""
        ...

    def written(self, node: Node, level: Level) -> SQLText:
        """Write a node as text, however deep it lies."""
        ...

    def element(self, node: Node, level: Level) -> SQLText:
        """Write an element of an array; NULL only if it lacks a required value."""
        ...

    def text(self, node: Scalar, column: ColumnElement[Any]) -> SQLText:
        """Write a value as JSON."""
        ...

    def key_text(self, mapper: Mapper[Any], level: Level) -> SQLText:
        """Write the primary key of a row as JSON."""
        ...

    def array(
        self, item: SQLText, level: Level, path: str, order: Sequence[Any], limit: int | None = None
    ) -> Select[Any]:
        """Select one array with the items of all rows, in an order."""
        ...

    def finished(self, top: Select[Any], node: Node) -> Select[Any]:
        """Add to the outermost statement what only that can have."""
        ...
