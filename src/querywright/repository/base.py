"""What every repository has: a mapped class, from its argument or its generic base, and a session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin, overload

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, Session

from querywright.errors import ConfigurationError

__all__ = ["AnySession", "Model", "RepositoryBase", "argument_of", "require_mapped"]

Model = TypeVar("Model")
AnySession = TypeVar("AnySession", bound=Session | AsyncSession)


class RepositoryBase(Generic[Model, AnySession]):
    """A mapped class and a session.

    Args:
        model: The mapped class; left out where a subclass names it: ``class Users(Repository[User])``.
        session: The session whose transaction everything happens in.

    Raises:
        ConfigurationError: There is not a mapped class, or the session is of the other kind.
    """

    _argument: ClassVar[Any] = Model  # type: ignore[misc]  # stands for itself until it is given
    _wrong_session: ClassVar[type]

    def __init_subclass__(cls, **options: Any) -> None:
        """Note the class that a generic base is given."""
        super().__init_subclass__(**options)
        for base in cls.__dict__.get("__orig_bases__", ()):
            if isinstance(get_origin(base), type) and issubclass(get_origin(base), RepositoryBase):
                cls._argument = argument_of(base)

    @overload
    def __init__(self, model: type[Model], session: AnySession, /) -> None: ...

    @overload
    def __init__(self, session: AnySession, /) -> None: ...

    def __init__(self, *arguments: Any) -> None:
        *model, session = arguments
        name = type(self).__name__
        if isinstance(session, self._wrong_session):
            hint = "Repository is for a Session, AsyncRepository for an AsyncSession."
            raise ConfigurationError(f"{name} cannot work on {type(session).__name__}.", hint=hint)
        self.model: type[Model] = require_mapped(name, model[0] if model else self._argument)
        self.session: AnySession = session

    def add(self, row: Model) -> Model:
        """Add a new row, written with the next flush or commit.

        Returns:
            The row itself.

        Raises:
            ConfigurationError: It is of another class.
        """
        self.add_all([row])
        return row

    def add_all(self, rows: Iterable[Model]) -> None:
        """Add new rows, written with the next flush or commit.

        Raises:
            ConfigurationError: One is of another class; then none is added.
        """
        rows = list(rows)
        for row in rows:
            if not isinstance(row, self.model):
                message = f"A repository of {self.model.__name__} cannot hold {type(row).__name__}."
                raise ConfigurationError(message)
        self.session.add_all(rows)

    def __repr__(self) -> str:
        """Show the class."""
        return f"{type(self).__name__}({self.model.__name__})"


def argument_of(repository: Any) -> Any:
    """Return which mapped class a repository class, with or without arguments, is for; a type variable if none yet."""
    origin: Any = get_origin(repository) or repository
    given = dict(zip(getattr(origin, "__parameters__", ()), get_args(repository), strict=False))
    return given.get(origin._argument, origin._argument)  # noqa: SLF001 - of the same class


def require_mapped(where: str, model: Any) -> type[Any]:
    """Return a mapped class.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(model, type) and isinstance(inspect(model, raiseerr=False), Mapper):
        return model
    if isinstance(model, TypeVar):
        message = f"{where} does not know its mapped class."
        raise ConfigurationError(message, hint="Write Repository(User, session) or class Users(Repository[User]).")
    message = f"{where}: {model!r} is not a mapped class."
    raise ConfigurationError(message, hint="Name the class itself, not a string.")
