"""A primary and a standby that has everything that the primary has acknowledged."""

from __future__ import annotations

from types import TracebackType

from typing_extensions import Self

from querywright.testing import EmbeddedPostgres


class Cluster:
    """Two servers: each COMMIT on the primary waits until the standby has it too.

    Attributes:
        primary: Takes writes, until it is killed.
        standby: Follows it, and then takes its place.
    """

    def __init__(self) -> None:
        self.primary = EmbeddedPostgres(
            shared_buffers="32MB", max_connections="100", synchronous_commit="on", synchronous_standby_names="standby"
        )
        self.standby = self.primary.standby()

    def url(self, driver: str) -> str:
        """Return a URL with both servers, for clients that look for the one that takes writes."""
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql+{driver}://postgres@/postgres?{hosts}&target_session_attrs=read-write"

    def fail_over(self) -> None:
        """Kill the primary as a crash would, and let the standby take its place."""
        self.primary.shut_down("immediate")
        self.standby.promote()

    def __enter__(self) -> Self:
        self.primary.__enter__()
        try:
            self.standby.__enter__()
        except BaseException:
            self.primary.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.standby.stop()
        self.primary.stop()
