"""Units of work: a transaction with the repositories that a class declares by annotations."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar, get_origin, get_type_hints

from typing_extensions import Self, Unpack

from querywright.errors import ConfigurationError
from querywright.repository.aio import AsyncRepository
from querywright.repository.base import argument_of, require_mapped
from querywright.repository.repository import Repository
from querywright.session import AsyncDatabase, AsyncSession, Database, Session
from querywright.session.transactions.nesting import Nested
from querywright.session.transactions.options import Isolation

__all__ = ["AsyncUnitOfWork", "UnitOfWork"]

AnyDatabase = TypeVar("AnyDatabase", bound=Database | AsyncDatabase)
AnySession = TypeVar("AnySession", bound=Session | AsyncSession)
# The repositories of a unit of work: the class of each, and its mapped class.
Declared = dict[str, tuple[Any, type[Any]]]


class TransactionKeywords(TypedDict, total=False):
    """The keywords of `Database.transaction`."""

    isolation: Isolation | None
    read_only: bool
    deferrable: bool
    timeout: float | None
    nested: Nested | None


class _Unit(Generic[AnyDatabase, AnySession]):
    """What both kinds have: a database, what to begin the transaction with, and repositories while it lasts."""

    _database_kind: ClassVar[type]
    _repository_kind: ClassVar[type]
    _declared: ClassVar[Declared]

    def __init__(self, db: AnyDatabase, **options: Unpack[TransactionKeywords]) -> None:
        if not isinstance(db, self._database_kind):
            message = f"{type(self).__name__} needs {self._database_kind.__name__}, not {type(db).__name__}."
            raise ConfigurationError(message, hint="Inside a transaction, write on(session).")
        self._repositories()
        self._db: AnyDatabase | None = db
        self._options = options
        self._session: AnySession | None = None
        self._block: Any = None

    @classmethod
    def on(cls, session: AnySession) -> Self:
        """Use the repositories inside a transaction that is already there, and whose end is not theirs.

        Args:
            session: The transaction's session, such as a `querywright.fastapi.Writer`.
        """
        unit = cls.__new__(cls)
        vars(unit)["_db"] = None
        _Unit._bind(unit, session)
        return unit

    @property
    def session(self) -> AnySession:
        """The transaction's session."""
        if self._session is None:
            raise AttributeError(name="session", obj=self)
        return self._session

    @classmethod
    def _repositories(cls) -> Declared:
        """Read the annotations, once for each class."""
        if "_declared" not in vars(cls):
            cls._declared = _read(cls)
        return cls._declared

    def _transaction(self) -> Any:
        if self._db is None:
            message = f"{type(self).__name__}.on(session) is inside a transaction already."
            raise ConfigurationError(message, hint="Use it without a with block.")
        if self._block is not None:
            message = f"This {type(self).__name__} is in use."
            raise ConfigurationError(message, hint="Make one for each transaction; they cost nothing.")
        return self._db.transaction(**self._options)

    def _bind(self, session: AnySession, block: Any = None) -> None:
        self._session, self._block = session, block
        for name, (kind, model) in self._repositories().items():
            setattr(self, name, kind(model, session))

    def _unbind(self) -> None:
        self._session = self._block = None
        for name in self._repositories():
            vars(self).pop(name, None)

    if not TYPE_CHECKING:  # they would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Raise an error that says why a declared repository is not there."""
            if name == "session" or name in self._repositories():
                message = f"{type(self).__name__}.{name} is there only inside the with block."
            else:
                message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message)


class UnitOfWork(_Unit[Database, Session]):
    """One transaction, with repositories: committed at the end of the block, rolled back if it raises.

    Repositories are declared as annotations, which are read once for each class: ``users: Repository[User]``, or a
    subclass ``users: Users``. What else is annotated needs a value or a name that begins with an underscore.

    Args:
        db: The database.
        options: As for `Database.transaction`, such as ``read_only=True``.

    Raises:
        ConfigurationError: An annotation is no repository for synchronous code.
    """

    _database_kind = Database
    _repository_kind = Repository

    def __enter__(self) -> Self:
        """Begin the transaction."""
        block: AbstractContextManager[Session] = self._transaction()
        self._bind(block.__enter__(), block)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Commit, or roll back after an error."""
        block: AbstractContextManager[Session] = self._block
        try:
            return block.__exit__(kind, error, trace)
        finally:
            self._unbind()


class AsyncUnitOfWork(_Unit[AsyncDatabase, AsyncSession]):
    """One transaction, with repositories: committed at the end of the block, rolled back if it raises.

    Repositories are declared as annotations, which are read once for each class: ``users: AsyncRepository[User]``, or a
    subclass ``users: Users``. What else is annotated needs a value or a name that begins with an underscore.

    Args:
        db: The database.
        options: As for `AsyncDatabase.transaction`, such as ``read_only=True``.

    Raises:
        ConfigurationError: An annotation is no repository for asyncio.
    """

    _database_kind = AsyncDatabase
    _repository_kind = AsyncRepository

    async def __aenter__(self) -> Self:
        """Begin the transaction."""
        block: AbstractAsyncContextManager[AsyncSession] = self._transaction()
        self._bind(await block.__aenter__(), block)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Commit, or roll back after an error."""
        block: AbstractAsyncContextManager[AsyncSession] = self._block
        try:
            return await block.__aexit__(kind, error, trace)
        finally:
            self._unbind()


def _read(unit: type[_Unit[Any, Any]]) -> Declared:
    try:
        hints = get_type_hints(unit)
    except NameError as error:
        message = f"{unit.__name__}: an annotation says {error.name!r}, which its module does not define."
        raise ConfigurationError(message, hint="Import it, and not only under TYPE_CHECKING.") from None
    return {
        name: _repository(unit, name, hint)
        for name, hint in hints.items()
        if not name.startswith("_") and get_origin(hint) is not ClassVar and not hasattr(unit, name)
    }


def _repository(unit: type[_Unit[Any, Any]], name: str, hint: Any) -> tuple[Any, type[Any]]:
    kind = get_origin(hint) or hint
    wanted = unit._repository_kind  # noqa: SLF001 - of the same module
    where = f"{unit.__name__}.{name}"
    if not (isinstance(kind, type) and issubclass(kind, wanted)):
        message = f"{where} is annotated with {hint}, which is not a {wanted.__name__}."
        raise ConfigurationError(message, hint=f"Write {name}: {wanted.__name__}[User], or a subclass of it.")
    return kind, require_mapped(where, argument_of(hint))
