"""What a caller asks for, and how a statement returns it: all rows or a page of them, for whom, in how many pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from querywright.fetching.plan.nodes import Field, ToMany

__all__ = ["Form", "Layout", "PageForm", "Strategy"]

# One statement for everything, one for each level of lists, or left to the compiler.
Strategy = Literal["auto", "statement", "levels"]


@dataclass(frozen=True)
class PageForm:
    """Which page a statement returns.

    Attributes:
        size: How many rows it has at most.
        by_keyset: Whether the page begins behind a row, and its rows come with cursors; or at an offset.
        behind: For each sort, the kind of the value of the row it begins behind, ``None`` if that is NULL; ``None``
            for all of them at the start.
        backwards: Whether the page ends before that row.
        total: Whether the rows of the whole list are counted.
    """

    size: int
    by_keyset: bool
    behind: tuple[str | None, ...] | None = None
    backwards: bool = False
    total: bool = True


@dataclass(frozen=True)
class Form:
    """What a caller asks for.

    Attributes:
        array: One row with a JSON array, if that is faster, or one row of JSON text for each root row.
        limit: Return at most this many root rows.
        for_model: Write for the model that validates it, and not for a client: its input keys, and NaN.
        by_alias: Use the fields' aliases as keys for a client.
        exclude_none: Leave out what is ``None``.
        only: Write only these fields for a client, by their paths.
        page: Return one page of the rows.
        strategy: How a list of all rows is split into statements; anything else is always one.
    """

    array: bool
    limit: int | None = None
    for_model: bool = False
    by_alias: bool = True
    exclude_none: bool = False
    only: frozenset[str] | None = None
    page: PageForm | None = None
    strategy: Strategy = "statement"


@dataclass(frozen=True)
class Layout:
    """How a statement returns what is asked for.

    Attributes:
        form: What is asked for.
        array: One row with a JSON array, or one row of JSON text for each root row.
        for_model: Written for the model, because it is asked for or because only the model can write its JSON.
        split: Lists are left open, to be filled by statements of their own.
        guarded: Nothing but the number of rows, if there are too many.
    """

    form: Form
    array: bool
    for_model: bool
    split: bool = False
    guarded: bool = False

    @property
    def compact(self) -> bool:
        """Whether members that are ``None`` are left out."""
        return self.form.exclude_none and not self.for_model

    def writes(self, field: Field) -> bool:
        """Return whether a field is written."""
        if self.for_model:
            return True
        return not field.excluded and (self.form.only is None or field.path in self.form.only)

    def key(self, field: Field) -> str:
        """Return the key that a field is written with."""
        if self.for_model:
            return field.input_key
        return field.key if self.form.by_alias else field.name

    def leaves_open(self, node: ToMany) -> bool:
        """Return whether a list is left open."""
        return self.split and node.rows.limit is None
