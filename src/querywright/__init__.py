"""The data layer for FastAPI and SQLAlchemy 2: the response model is the query."""

from querywright.errors import (
    ConfigurationError,
    Conflict,
    ConstraintViolation,
    DatabaseError,
    DatabaseUnavailable,
    InvalidRow,
    InvalidValue,
    MissingExtra,
    MultipleFound,
    NotFound,
    PoolTimeout,
    QuerywrightError,
    ShapeError,
    StatementTimeout,
    TransactionConflict,
    TransactionLost,
)
from querywright.fetch import AsyncFetch, Fetch, JsonBytes, fetch
from querywright.models import Base, Document, ExactDecimal, Timestamps, UTCDateTime, UUIDKey
from querywright.session import AsyncDatabase, AsyncSession, Database, Session
from querywright.settings import DatabaseSettings

__all__ = [
    "AsyncDatabase",
    "AsyncFetch",
    "AsyncSession",
    "Base",
    "ConfigurationError",
    "Conflict",
    "ConstraintViolation",
    "Database",
    "DatabaseError",
    "DatabaseSettings",
    "DatabaseUnavailable",
    "Document",
    "ExactDecimal",
    "Fetch",
    "InvalidRow",
    "InvalidValue",
    "JsonBytes",
    "MissingExtra",
    "MultipleFound",
    "NotFound",
    "PoolTimeout",
    "QuerywrightError",
    "Session",
    "ShapeError",
    "StatementTimeout",
    "Timestamps",
    "TransactionConflict",
    "TransactionLost",
    "UTCDateTime",
    "UUIDKey",
    "fetch",
]
__version__ = "0.1.0"
