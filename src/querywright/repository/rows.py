"""Which rows a repository means: keys and criteria, checked, and how those that are selected get locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnExpressionArgument, Select, TextClause, inspect, select
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.operators import Operators

from querywright.errors import ConfigurationError

__all__ = ["Criterion", "Lock", "Locking", "Ordering", "identity", "is_key", "key_criteria", "ordered", "selecting"]

Criterion = ColumnExpressionArgument[bool]
Ordering = ColumnExpressionArgument[Any] | Sequence[ColumnExpressionArgument[Any]]
Lock = Literal["update", "share"]


@dataclass(frozen=True)
class Locking:
    """How rows are locked until the transaction ends.

    Attributes:
        lock: ``"update"`` keeps others from locking or writing them, ``"share"`` only from writing them.
        nowait: Fail at once if somebody else holds a lock.
        skip_locked: Leave out the rows that somebody else has locked.

    Raises:
        ConfigurationError: The three contradict each other.
    """

    lock: Lock | None = None
    nowait: bool = False
    skip_locked: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be had."""
        if self.lock not in {None, "update", "share"}:
            raise ConfigurationError(f"There is no lock {self.lock!r}.", hint='There are "update" and "share".')
        if self.nowait and self.skip_locked:
            message = "nowait= fails at a locked row, skip_locked= leaves it out; both at once cannot be had."
            raise ConfigurationError(message, hint="Give one of them.")
        if self.lock is None and (self.nowait or self.skip_locked):
            message = "nowait= and skip_locked= say how to lock, but nothing is locked."
            raise ConfigurationError(message, hint='Add lock="update" or lock="share".')


def selecting(model: type[Any], criteria: Sequence[Any], locking: Locking) -> Select[Any]:
    """Select the rows of a class that match every criterion, locked if wanted.

    Raises:
        ConfigurationError: Something is no criterion.
    """
    statement = select(model).where(*checked(model, criteria))
    if locking.lock is None:
        return statement
    # Of the class only: PostgreSQL cannot lock the far side of an outer join, such as eager loading adds.
    locked = statement.with_for_update(
        read=locking.lock == "share", nowait=locking.nowait, skip_locked=locking.skip_locked, of=model
    )
    # What the session read before it held the lock may be older than the row.
    return locked.execution_options(populate_existing=True)


def checked(model: type[Any], criteria: Sequence[Any]) -> Sequence[Any]:
    """Return the criteria if that is what they are: SQLAlchemy takes ``True`` and text for some.

    Raises:
        ConfigurationError: Something is no criterion.
    """
    for criterion in criteria:
        if not _is_expression(criterion):
            message = f"A criterion for {model.__name__} is an SQL expression, not {type(criterion).__name__}."
            raise ConfigurationError(message, hint=f"Compare its attributes: {model.__name__}.name == value.")
    return criteria


def ordered(model: type[Any], order_by: Ordering | None) -> Sequence[Any]:
    """List what to order by.

    Raises:
        ConfigurationError: Something is no SQL expression.
    """
    wanted = () if order_by is None else order_by if isinstance(order_by, (list, tuple)) else (order_by,)
    for expression in wanted:
        if not _is_expression(expression):
            message = f"{model.__name__} cannot be ordered by {type(expression).__name__}."
            raise ConfigurationError(message, hint=f"Give its attributes: order_by={model.__name__}.name.desc().")
    return wanted


def is_key(given: Sequence[Any]) -> bool:
    """Return whether what was given is one primary key rather than criteria."""
    return len(given) == 1 and not _is_expression(given[0])


def key_criteria(model: type[Any], key: Any) -> list[Any]:
    """Compare the primary key of a class with a key.

    Raises:
        ConfigurationError: The key has not the form of the primary key.
    """
    return [getattr(model, name) == value for name, value in identity(model, key).items()]


def identity(model: type[Any], key: Any) -> dict[str, Any]:
    """Name the parts of a key: a value, a tuple of several, or a mapping of names to values.

    Raises:
        ConfigurationError: The key has not the form of the primary key.
    """
    mapper: Mapper[Any] = inspect(model)
    names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    if isinstance(key, Mapping) and key.keys() == set(names):
        return {name: key[name] for name in names}
    values = key if isinstance(key, (tuple, list)) else (key,)
    if isinstance(key, Mapping) or len(values) != len(names):
        message = f"The key of {model.__name__} is ({', '.join(names)})."
        raise ConfigurationError(message, hint="Give a value for each, in a tuple if there are several.")
    return dict(zip(names, values, strict=True))


def _is_expression(value: Any) -> bool:
    return isinstance(value, (Operators, TextClause))
