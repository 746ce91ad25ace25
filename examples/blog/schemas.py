"""What clients send and receive. The models they receive are also the queries."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, Field

LARGEST_ID = 2**31 - 1


class TagOut(BaseModel):
    name: str


class AuthorOut(BaseModel):
    id: int
    name: str


class CommentOut(BaseModel):
    id: int
    text: str
    created_at: dt.datetime
    author: AuthorOut | None


class PostSummary(BaseModel):
    id: int
    title: str
    created_at: dt.datetime
    tags: list[TagOut]


class PostOut(PostSummary):
    body: str
    author: AuthorOut
    comments: list[CommentOut]


class UserOut(BaseModel):
    id: int
    name: str
    email: str
    is_active: bool
    created_at: dt.datetime
    posts: list[PostSummary]


class UserIn(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(min_length=3, max_length=255, pattern="@")


class PostIn(BaseModel):
    author_id: int = Field(ge=1, le=LARGEST_ID)
    title: str = Field(min_length=1, max_length=200)
    body: str
    tags: list[str] = Field(default=[], max_length=10)


class PostPatch(BaseModel):
    title: str | None = Field(default=None, min_length=1, max_length=200)
    body: str | None = None
