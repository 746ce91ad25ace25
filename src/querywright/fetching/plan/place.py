"""What is wanted at one place of a response model: what a planner passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Mapper

from querywright.errors import ShapeError
from querywright.fetching.mapping.attributes import find
from querywright.fetching.model.annotations import Wanted

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """What is wanted at one place of a response model.

    Attributes:
        wanted: What the model accepts there.
        mapper: The mapped class whose rows fill it.
        path: Where it is, from the root model.
    """

    wanted: Wanted
    mapper: Mapper[Any]
    path: str

    def refused(self, reason: str, hint: str = "") -> ShapeError:
        """Make the error of a place that cannot be filled."""
        return ShapeError(self.path, reason, hint=hint)

    def find(self, name: str) -> Any:
        """Find an attribute of the mapped class."""
        return find(self.mapper, name, self.path)
