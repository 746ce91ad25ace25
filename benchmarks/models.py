"""The tables and response models that every contender works on."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from querywright import Base


class Writer(Base):
    __tablename__ = "bench_writers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(200))
    active: Mapped[bool]
    created_at: Mapped[dt.datetime]

    texts: Mapped[list[Text]] = relationship(order_by="Text.id")


class Text(Base):
    __tablename__ = "bench_texts"

    id: Mapped[int] = mapped_column(primary_key=True)
    writer_id: Mapped[int] = mapped_column(ForeignKey("bench_writers.id"), index=True)
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str]
    created_at: Mapped[dt.datetime]

    remarks: Mapped[list[Remark]] = relationship(order_by="Remark.id")


class Remark(Base):
    __tablename__ = "bench_remarks"

    id: Mapped[int] = mapped_column(primary_key=True)
    text_id: Mapped[int] = mapped_column(ForeignKey("bench_texts.id"), index=True)
    words: Mapped[str]
    created_at: Mapped[dt.datetime]


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RemarkOut(Out):
    id: int
    words: str
    created_at: dt.datetime


class TextOut(Out):
    id: int
    title: str
    created_at: dt.datetime
    remarks: list[RemarkOut]


class WriterOut(Out):
    id: int
    name: str
    email: str
    created_at: dt.datetime
    texts: list[TextOut]


class FlatOut(Out):
    id: int
    name: str
    email: str
    active: bool
    created_at: dt.datetime
