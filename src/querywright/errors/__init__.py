"""Every error Querywright raises: what happened, where, and what to do.

QuerywrightError
├── ConfigurationError          a setting, a URL or an argument that cannot work
│   └── MissingExtra            an optional package is not installed (also an ImportError)
├── ShapeError                  a response model that does not fit its mapped class
├── InvalidRow                  a row that does not fit the response model
├── InvalidRequest              what a client asked for cannot be had
│   ├── InvalidCursor           a cursor that was changed, or belongs to another list
│   ├── KeyReused               an idempotency key that stands for something else
│   ├── InvalidPage             a page size or number out of bounds
│   ├── PreconditionFailed      an entity tag that is no longer the row's
│   ├── PreconditionRequired    a request that has to say which version it means
│   └── UnknownFields           fields that the response model does not have
├── SessionMisuse               a session used as it must not be
│   ├── ManagedTransaction      commit or rollback by hand inside a managed block
│   ├── SessionEnded            a session that was kept after its block
│   ├── NestedTransaction       a transaction inside another, without saying how
│   └── ConcurrentUse           two tasks or threads in one session at once
├── NotFound                    no row (also SQLAlchemy's NoResultFound)
├── MultipleFound               more than one row (also SQLAlchemy's MultipleResultsFound)
├── StaleData                   rows that somebody else changed first (also SQLAlchemy's StaleDataError)
└── DatabaseError               what a database or its driver reported, without its words
    ├── ConstraintViolation
    │   ├── Conflict            unique, foreign key or exclusion constraint
    │   └── InvalidValue        not-null or check constraint, value too long, out of range, none of the type
    ├── TransactionLost         a failed statement was ignored, so nothing could be committed
    ├── CommitOutcomeUnknown    nobody can say whether a COMMIT took effect
    └── DatabaseUnavailable     try again later
        ├── LockNotAvailable    somebody else holds a lock
        │   └── KeyInUse        what an idempotency key stands for is still being done
        ├── PoolTimeout         every pooled connection stayed in use
        ├── TooManyStreams      as many streams are read as may be
        ├── StatementTimeout    the database gave up on a statement
        └── TransactionConflict deadlock or serialization failure; retry the whole transaction
"""

from __future__ import annotations

from querywright.errors.base import ConfigurationError, InvalidRow, MissingExtra, QuerywrightError, ShapeError
from querywright.errors.database import (
    CommitOutcomeUnknown,
    Conflict,
    ConstraintViolation,
    DatabaseError,
    DatabaseUnavailable,
    InvalidValue,
    KeyInUse,
    LockNotAvailable,
    PoolTimeout,
    StatementTimeout,
    TooManyStreams,
    TransactionConflict,
    TransactionLost,
)
from querywright.errors.requests import (
    InvalidCursor,
    InvalidPage,
    InvalidRequest,
    KeyReused,
    PreconditionFailed,
    PreconditionRequired,
    UnknownFields,
)
from querywright.errors.rows import MultipleFound, NotFound, StaleData, StaleRow
from querywright.errors.sessions import (
    ConcurrentUse,
    ManagedTransaction,
    NestedTransaction,
    SessionEnded,
    SessionMisuse,
)

__all__ = [
    "CommitOutcomeUnknown", "ConcurrentUse", "ConfigurationError", "Conflict", "ConstraintViolation",
    "DatabaseError", "DatabaseUnavailable", "InvalidCursor", "InvalidPage", "InvalidRequest", "InvalidRow",
    "InvalidValue", "KeyInUse", "KeyReused", "LockNotAvailable", "ManagedTransaction", "MissingExtra",
    "MultipleFound", "NestedTransaction", "NotFound", "PoolTimeout", "PreconditionFailed", "PreconditionRequired",
    "QuerywrightError", "SessionEnded", "SessionMisuse", "ShapeError", "StaleData", "StaleRow", "StatementTimeout",
    "TooManyStreams", "TransactionConflict", "TransactionLost", "UnknownFields",
]  # fmt: skip
