"""Units of work: databases, sessions and transactions."""

from querywright.session.aio import AsyncDatabase
from querywright.session.database import Database
from querywright.session.sessions import AsyncSession, Session

__all__ = ["AsyncDatabase", "AsyncSession", "Database", "Session"]
