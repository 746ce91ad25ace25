"""A declarative base, mixins and column types with sound defaults; all of it optional."""

from querywright.models.base import NAMING_CONVENTION, TYPE_ANNOTATION_MAP, Base
from querywright.models.mixins import Timestamps, UUIDKey, Versioned, uuid7
from querywright.models.types import Document, ExactDecimal, UTCDateTime

__all__ = [
    "NAMING_CONVENTION",
    "TYPE_ANNOTATION_MAP",
    "Base",
    "Document",
    "ExactDecimal",
    "Timestamps",
    "UTCDateTime",
    "UUIDKey",
    "Versioned",
    "uuid7",
]
