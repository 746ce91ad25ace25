"""Conditional requests by version: entity tags, If-Match and If-None-Match (RFC 9110, section 13; RFC 6585)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Header, HTTPException, Request
from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState

from querywright.errors import ConfigurationError, InvalidRequest, PreconditionFailed, PreconditionRequired

__all__ = ["IfMatch", "IfNoneMatch", "OptionalIfMatch", "etag"]

# RFC 9110, section 8.8.3; an empty element of a list is to be ignored (section 5.6.1.2).
_TAG = r'(?:W/)?"[\x21\x23-\x7E\x80-\xFF]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_ANY = ("*",)
_CHANGED = "The row is no longer as it was read."


def etag(row: object) -> str:
    """Make the strong entity tag of a row's version, for the header ``ETag``.

    Args:
        row: An object of a class with a version, such as one of `Versioned`, or a response model with a field
            ``version``.

    Raises:
        ConfigurationError: It has no version, or changes that the next flush will count.

    Example:
        >>> from types import SimpleNamespace
        >>> etag(SimpleNamespace(version=3))
        '"3"'
    """
    version = _version(row)
    if version is None:
        message = f"{type(row).__name__} has no version to make an entity tag of."
        raise ConfigurationError(message, hint="Flush it if it is new; give its class the mixin Versioned.")
    return f'"{quote(str(version), safe="")}"'


def _version(row: object) -> object:
    state = inspect(row, raiseerr=False)
    if isinstance(state, InstanceState) and state.mapper.version_id_col is not None:
        if state.persistent and state.modified:
            message = f"{type(row).__name__} has changes that are not written, and with them another version."
            raise ConfigurationError(message, hint="Call flush() before etag().")
        return getattr(row, state.mapper.get_property_by_column(state.mapper.version_id_col).key)
    return getattr(row, "version", None)


@dataclass(frozen=True)
class Match:
    """What an If-Match header asks for: a change of exactly what the client has read.

    Attributes:
        tags: The entity tags, or ``*`` alone for any; empty without the header.

    Example:
        >>> from types import SimpleNamespace
        >>> Match(('"3"', '"4"')).check(SimpleNamespace(version=4))
    """

    tags: tuple[str, ...]

    def check(self, row: object | None) -> None:
        """Go on only if the row is one that the client has read; without the header, always.

        Somebody may still change it before the flush; that is noticed there, as `StaleData`.

        Args:
            row: The row as it is now; ``None`` if there is none.

        Raises:
            PreconditionFailed: It is another; answered with 412.
        """
        # Strong comparison: a weak tag matches nothing (RFC 9110, section 13.1.1).
        if self.tags and (row is None or (self.tags != _ANY and etag(row) not in self.tags)):
            raise PreconditionFailed(_CHANGED, hint="Read it again.")


@dataclass(frozen=True)
class NoneMatch:
    """What an If-None-Match header asks for: nothing that the client has already.

    Attributes:
        tags: The entity tags, or ``*`` alone for any; empty without the header.
        reads: Whether the request is a GET or HEAD.
    """

    tags: tuple[str, ...]
    reads: bool

    def check(self, row: object | None) -> None:
        """Go on only if the row is none of those that the client has; without the header, always.

        Args:
            row: The row as it is now; ``None`` if there is none.

        Raises:
            fastapi.HTTPException: The client that reads has it; answered with 304.
            PreconditionFailed: A client wants to write, and there is such a row; answered with 412.
        """
        if row is None or not self.tags:
            return
        current = etag(row)
        # Weak comparison (RFC 9110, section 13.1.2).
        if self.tags == _ANY or current in {tag.removeprefix("W/") for tag in self.tags}:
            if self.reads:
                raise HTTPException(HTTPStatus.NOT_MODIFIED, headers={"ETag": current})
            raise PreconditionFailed("There is such a row already.")


def parse_tags(header: str, lines: Sequence[str] | None) -> tuple[str, ...]:
    """Read the lines of a header.

    Raises:
        InvalidRequest: It is no list of entity tags.
    """
    if lines is None:
        return ()
    value = ",".join(lines).strip(" \t")
    if value == "*":
        return _ANY
    if not _LIST.fullmatch(value):
        raise InvalidRequest(f'{header} is neither * nor a list of entity tags, such as "3".')
    return tuple(re.findall(_TAG, value))


def _optional_if_match(if_match: Annotated[list[str] | None, Header()] = None) -> Match:
    return Match(parse_tags("If-Match", if_match))


def _if_match(match: Annotated[Match, Depends(_optional_if_match)]) -> Match:
    if not match.tags:
        raise PreconditionRequired("The header If-Match is missing.", hint="Send the ETag of what you read.")
    return match


def _if_none_match(request: Request, if_none_match: Annotated[list[str] | None, Header()] = None) -> NoneMatch:
    return NoneMatch(parse_tags("If-None-Match", if_none_match), request.method in {"GET", "HEAD"})


# Without the header, IfMatch answers 428 and the others let everything pass.
IfMatch = Annotated[Match, Depends(_if_match)]
OptionalIfMatch = Annotated[Match, Depends(_optional_if_match)]
IfNoneMatch = Annotated[NoneMatch, Depends(_if_none_match)]
