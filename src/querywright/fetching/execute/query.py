"""One fetch as data: which model, of which rows, with which values."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from querywright.fetching.compile.form import Form, Strategy
from querywright.fetching.compile.statement import root_mapper
from querywright.fetching.execute.compiled import Declaration
from querywright.fetching.execute.session import Seen
from querywright.fetching.plan.fieldsets import Fieldset, fieldset
from querywright.fetching.plan.nodes import Plan
from querywright.fetching.plan.planner import plan

__all__ = ["Query"]


@dataclass(frozen=True)
class Query:
    """What is fetched.

    Attributes:
        model: The response model.
        statement: Which rows.
        parameters: Values for the statement's named parameters.
        fields: The fields that a client asked for, as it wrote them.
        strategy: Whether one statement fetches all, or one for each level.
        declaration: Where the statement is compiled once for all, if a module declared it.
        sessions: The sessions of the database that it was asked of, whose listeners see it though it needs none.
        optional: Names of values that the statement need not have a parameter for.
    """

    model: Any
    statement: Select[Any]
    parameters: Mapping[str, Any] | None = None
    fields: str | None = None
    strategy: Strategy = "auto"
    declaration: Declaration | None = None
    sessions: type[Session] | None = None
    optional: AbstractSet[str] = frozenset()

    @property
    def plan(self) -> Plan:
        """How the rows fill the model."""
        return plan(self.model, root_mapper(self.statement))

    @property
    def fieldset(self) -> Fieldset | None:
        """The fields that a client asked for.

        Raises:
            UnknownFields: The model does not have one of them.
        """
        return None if self.fields is None else fieldset(self.plan, self.fields)

    def client_form(self, form: Form) -> Form:
        """Narrow what is written for a client to the fields it asked for."""
        if self.fields is None:
            return form
        chosen = self.fieldset
        return form if chosen is None else replace(form, only=chosen.paths)

    def as_seen(self, seen: Seen) -> Query:
        """Return what the listeners of a session made of it."""
        if seen.statement is self.statement:
            return self
        given = seen.parameters or {}
        # A listener may give a value to every statement, whether it has such a parameter or not; the ORM ignores it.
        known = frozenset() if seen.is_another else frozenset(self.parameters or ())
        optional = given.keys() - known
        return replace(self, statement=seen.statement, parameters=given, optional=optional, declaration=None)
