"""Conditional requests by version: entity tags, If-Match and If-None-Match (RFC 9110, section 13; RFC 6585)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Header, HTTPException, Request
from pydantic.json_schema import SkipJsonSchema
from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState

from querywright.errors import ConfigurationError, InvalidRequest, PreconditionFailed, PreconditionRequired
from querywright.fastapi.responses.returned import require_finished

__all__ = [
    "IfMatch", "IfNoneMatch", "OptionalIfMatch", "etag", "if_match", "if_none_match", "optional_if_match", "parse_tags",
]  # fmt: skip

# RFC 9110, section 8.8.3; an empty element of a list is to be ignored (section 5.6.1.2).
_TAG = r'(?:W/)?"[\x21\x23-\x7E\x80-\xFF]*"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_ANY = ("*",)
_IF_MATCH, _IF_NONE_MATCH = "If-Match", "If-None-Match"
_READ = Header(alias=_IF_MATCH, description='The `ETag` of what was read, such as `"3"`; `*` for any.')
_KNOWN = Header(alias=_IF_NONE_MATCH, description='The `ETag` of what the client has, such as `"3"`; `*` for any.')
_CHANGED = "The row is no longer as it was read."


def etag(row: object) -> str:
    """Make the strong entity tag of a row's version, for the header ``ETag``.

    Args:
        row: An object of a class with a version, such as one of `Versioned`, or a response model with a field
            ``version``.

    Raises:
        ConfigurationError: It has no version, or changes that the next flush will count, or was not awaited.

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
    require_finished(row)
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
        require_finished(row)
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
        require_finished(row)
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
    if not lines:
        return ()
    value = ",".join(lines).strip(" \t")
    if value == "*":
        return _ANY
    if not _LIST.fullmatch(value):
        message = f'{header} is neither * nor a list of entity tags, such as "3".'
        raise InvalidRequest(message, location=("header", header))
    return tuple(re.findall(_TAG, value))


async def _required(request: Request) -> None:
    """Answer a request without the header before FastAPI misses it, which would be a 422."""
    if _IF_MATCH not in request.headers:
        raise PreconditionRequired(f"The header {_IF_MATCH} is missing.", hint="Send the ETag of what you read.")


# What the parameters below are declared for is OpenAPI, where a header is one string: a client may send several lines.
async def if_match(
    request: Request, _sent: Annotated[None, Depends(_required)], _value: Annotated[str, _READ]
) -> Match:
    """Read a header that has to be there."""
    return Match(parse_tags(_IF_MATCH, request.headers.getlist(_IF_MATCH)))


async def optional_if_match(request: Request, _value: Annotated[str | SkipJsonSchema[None], _READ] = None) -> Match:
    """Read a header that may be there."""
    return Match(parse_tags(_IF_MATCH, request.headers.getlist(_IF_MATCH)))


async def if_none_match(request: Request, _value: Annotated[str | SkipJsonSchema[None], _KNOWN] = None) -> NoneMatch:
    """Read a header that may be there."""
    tags = parse_tags(_IF_NONE_MATCH, request.headers.getlist(_IF_NONE_MATCH))
    return NoneMatch(tags, request.method in {"GET", "HEAD"})


# Without the header, IfMatch answers 428 and the others let everything pass.
IfMatch = Annotated[Match, Depends(if_match)]
OptionalIfMatch = Annotated[Match, Depends(optional_if_match)]
IfNoneMatch = Annotated[NoneMatch, Depends(if_none_match)]
