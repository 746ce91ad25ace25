"""Repositories, each for the rows of one mapped class, and units of work made of them."""

from querywright.repository.aio import AsyncRepository
from querywright.repository.repository import Repository
from querywright.repository.unit import AsyncUnitOfWork, UnitOfWork

__all__ = ["AsyncRepository", "AsyncUnitOfWork", "Repository", "UnitOfWork"]
