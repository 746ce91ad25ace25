"""Real databases for tests and development, without a system install."""

from querywright.testing.postgres import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
