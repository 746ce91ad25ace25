"""What a statement returns: all rows or a page of them, for whom, and in how many pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Form", "PageForm", "Strategy"]

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
    """What the statement returns.

    Attributes:
        array: One row with a JSON array, if that is faster, or one row of JSON text for each root row.
        limit: Return at most this many root rows.
        for_model: Write for the model that validates it, and not for a client: its input keys, and NaN.
        by_alias: Use the fields' aliases as keys for a client.
        exclude_none: Leave out what is ``None``.
        only: Write only these fields for a client, by their paths.
        page: Return one page of the rows.
        strategy: How a list of all rows is split into statements; anything else is always one.
        split: Leave lists open, to be filled by statements of their own.
        guarded: Return nothing, and the number of rows, if there are too many.
    """

    array: bool
    limit: int | None = None
    for_model: bool = False
    by_alias: bool = True
    exclude_none: bool = False
    only: frozenset[str] | None = None
    page: PageForm | None = None
    strategy: Strategy = "statement"
    split: bool = False
    guarded: bool = False
