"""Tortoise ORM: its models on the same tables, prefetch_related, and Pydantic for the JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter
from sqlalchemy import make_url
from tortoise import fields
from tortoise.context import TortoiseContext
from tortoise.models import Model

from benchmarks.contenders.base import Contender, Place, keys, many_flat
from benchmarks.models import FlatOut, Out, RemarkOut


class WriterRow(Model):
    id = fields.IntField(primary_key=True)
    name = fields.CharField(max_length=100)
    email = fields.CharField(max_length=200)
    active = fields.BooleanField()
    created_at = fields.DatetimeField()
    texts: fields.ReverseRelation[TextRow]

    class Meta:
        table = "bench_writers"
        ordering = ("id",)


class TextRow(Model):
    id = fields.IntField(primary_key=True)
    writer: fields.ForeignKeyRelation[WriterRow] = fields.ForeignKeyField("bench.WriterRow", related_name="texts")
    title = fields.CharField(max_length=200)
    body = fields.TextField()
    created_at = fields.DatetimeField()
    remarks: fields.ReverseRelation[RemarkRow]

    class Meta:
        table = "bench_texts"
        ordering = ("id",)


class RemarkRow(Model):
    id = fields.IntField(primary_key=True)
    text: fields.ForeignKeyRelation[TextRow] = fields.ForeignKeyField("bench.TextRow", related_name="remarks")
    words = fields.TextField()
    created_at = fields.DatetimeField()

    class Meta:
        table = "bench_remarks"
        ordering = ("id",)


class TextRead(Out):
    id: int
    title: str
    created_at: dt.datetime
    remarks: Annotated[list[RemarkOut], BeforeValidator(list)]  # a ReverseRelation is no list


class WriterRead(Out):
    id: int
    name: str
    email: str
    created_at: dt.datetime
    texts: Annotated[list[TextRead], BeforeValidator(list)]


many_nested = TypeAdapter(list[WriterRead])


@asynccontextmanager
async def tortoise(place: Place) -> AsyncIterator[Contender]:
    ids = keys()

    async def nested() -> bytes:
        rows = await WriterRow.all().limit(50).prefetch_related("texts__remarks")
        return many_nested.dump_json(many_nested.validate_python(rows))

    async def flat() -> bytes:
        return many_flat.dump_json(many_flat.validate_python(await WriterRow.all()))

    async def by_key() -> bytes:
        return FlatOut.model_validate(await WriterRow.get(id=next(ids))).model_dump_json().encode()

    async with TortoiseContext() as context:
        await context.init(db_url=_url(place), modules={"bench": [__name__]})
        yield Contender("Tortoise + Pydantic", nested, flat, by_key)


def _url(place: Place) -> str:
    if place.url.startswith("sqlite"):
        return f"sqlite://{place.path}"
    return make_url(place.dsn).set(drivername="asyncpg").render_as_string(hide_password=False)
