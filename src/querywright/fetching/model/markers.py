"""Markers for ``Annotated``: what fills a field when it is not the attribute of the same name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement

__all__ = [
    "Aggregated", "Avg", "Count", "Exists", "Expr", "First", "Grouped", "Keys", "Latest", "Many", "Marker", "Max",
    "Min", "Path", "Selection", "Sum",
]  # fmt: skip

# An expression of the related class, such as Post.published, or a function of the class, which is called once.
Criterion = ColumnElement[bool] | Callable[[Any], ColumnElement[bool]]
# The name of an attribute, desc("name"), an expression of the related class, or a function of the class.
Ordering = str | ColumnElement[Any] | Callable[[Any], Any]


class Marker:
    """What every marker is."""


@dataclass(frozen=True, eq=False)
class Path(Marker):
    """Fill the field with what a path of attributes leads to.

    A path through a relationship to many gives a list.

    Args:
        path: Names of attributes, joined by dots.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> class PostOut(BaseModel):
        ...     title: str
        ...     author_name: Annotated[str, Path("author.name")]
    """

    path: str


@dataclass(frozen=True, eq=False)
class Expr(Marker):
    """Fill the field with an SQL expression of the row.

    Args:
        build: A function of the mapped class, or an alias of it, that returns the expression.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> from sqlalchemy import func
        >>> class UserOut(BaseModel):
        ...     initial: Annotated[str, Expr(lambda user: func.substr(user.name, 1, 1))]
    """

    build: Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Selection(Marker):
    """Which rows of a relationship, and in which order.

    Args:
        relationship: The relationship, or a path of them; by default the field's own name.
        where: Only rows for which this holds: an expression of the related class, or a function of it, which is called
            once for a model; ``bindparam(None, callable_=...)`` in either is asked for each fetch.
        order_by: What to order by, one or more; by default the relationship's own order.
        limit: At most this many rows of each parent.
        distinct: Whether a row that is related twice comes once, as in the ORM's collections.
    """

    relationship: str | None = None
    where: Criterion | None = None
    order_by: Ordering | tuple[Ordering, ...] = ()
    limit: int | None = None
    distinct: bool = True


class Many(Selection):
    """Fill a list with some rows of a relationship, such as the three latest of each parent.

    Args:
        relationship: The relationship, or a path of them; by default the field's own name.
        where: Only rows for which this holds: an expression of the related class, or a function of it, which is called
            once for a model; ``bindparam(None, callable_=...)`` in either is asked for each fetch.
        order_by: What to order by, one or more; by default the relationship's own order.
        limit: At most this many rows of each parent.
        distinct: Whether a row that is related twice comes once, as in the ORM's collections.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> from sqlalchemy import desc
        >>> class PostOut(BaseModel):
        ...     title: str
        >>> class UserOut(BaseModel):
        ...     latest: Annotated[list[PostOut], Many("posts", order_by=desc("created_at"), limit=3)]
    """


class Keys(Selection):
    """Fill a list with the primary keys of the related rows.

    Args:
        relationship: The relationship, or a path of them; by default the field's own name.
        where: Only rows for which this holds.
        order_by: What to order by; by default the relationship's own order.
        limit: At most this many keys of each parent.
        distinct: Whether a row that is related twice comes once, as in the ORM's collections.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> class UserOut(BaseModel):
        ...     post_ids: Annotated[list[int], Keys("posts")]
    """


@dataclass(frozen=True, eq=False)
class First(Marker):
    """Fill the field with the first of the related rows.

    Args:
        relationship: The relationship.
        where: Only rows for which this holds.
        order_by: What to order by, one or more; by default the relationship's own order.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> class PostOut(BaseModel):
        ...     title: str
        >>> class UserOut(BaseModel):
        ...     oldest: Annotated[PostOut | None, First("posts", order_by="created_at")]
    """

    relationship: str
    where: Criterion | None = None
    order_by: Ordering | tuple[Ordering, ...] = ()


@dataclass(frozen=True, eq=False)
class Latest(Marker):
    """Fill the field with the related row that has the greatest value of an attribute.

    Args:
        relationship: The relationship.
        by: The attribute, such as ``"created_at"``; of equal ones the greater primary key wins, and NULL is less than
            any.
        where: Only rows for which this holds.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> class PostOut(BaseModel):
        ...     title: str
        >>> class UserOut(BaseModel):
        ...     newest: Annotated[PostOut | None, Latest("posts", by="created_at")]
    """

    relationship: str
    by: str
    where: Criterion | None = None


@dataclass(frozen=True, eq=False)
class Grouped(Marker):
    """Fill a dict: the values of an attribute of the related rows are the keys, their rows the values.

    Annotated as ``dict[K, list[Model]]`` each key has a list. Annotated as ``dict[K, Model]`` it has one row; if it has
    several, fetching raises a `DatabaseError`. The keys are sorted.

    Args:
        relationship: The relationship.
        by: The attribute: text, an integer, an enum or a UUID.
        where: Only rows for which this holds.
        order_by: The order of the rows of a list; by default the relationship's own.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> class PostOut(BaseModel):
        ...     title: str
        >>> class UserOut(BaseModel):
        ...     by_status: Annotated[dict[str, list[PostOut]], Grouped("posts", by="status")]
    """

    relationship: str
    by: str
    where: Criterion | None = None
    order_by: Ordering | tuple[Ordering, ...] = ()


@dataclass(frozen=True, eq=False)
class Aggregated(Marker):
    """What `Count`, `Sum`, `Min`, `Max`, `Avg` and `Exists` have in common.

    Args:
        relationship: The relationship whose rows are aggregated.
        of: The attribute that is aggregated, or a function of the related class that returns an expression.
        where: Only rows for which this holds.
    """

    relationship: str
    of: str | Callable[[Any], Any] | None = None
    where: Criterion | None = None


class Count(Aggregated):
    """Count the rows of a relationship; with ``of``, the different values of an attribute that are not NULL.

    Args:
        relationship: The relationship whose rows are counted.
        of: The attribute whose different values are counted.
        where: Only rows for which this holds.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import BaseModel
        >>> class UserOut(BaseModel):
        ...     posts: Annotated[int, Count("posts", where=lambda post: post.published)]
    """


class Sum(Aggregated):
    """Add up an attribute of the related rows; of no rows it is 0, or ``None`` where the field accepts that."""


class Min(Aggregated):
    """Find the least value of an attribute of the related rows; of no rows it is ``None``."""


class Max(Aggregated):
    """Find the greatest value of an attribute of the related rows; of no rows it is ``None``."""


class Avg(Aggregated):
    """Average an attribute of the related rows, as a float; of no rows it is ``None``."""


class Exists(Aggregated):
    """Return whether the relationship leads to any row for which the condition holds."""
