"""The eleven tables of the Chinook music store, under the names that its PostgreSQL script gives them.

The SQLite file spells the same names in camel case; `rename_for_sqlite` makes views of it.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from sqlalchemy import Column, ForeignKey, Numeric, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Artist(Base):
    __tablename__ = "artist"

    artist_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]

    albums: Mapped[list[Album]] = relationship(back_populates="artist", order_by="Album.album_id")


class Album(Base):
    __tablename__ = "album"

    album_id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    artist_id: Mapped[int] = mapped_column(ForeignKey("artist.artist_id"))

    artist: Mapped[Artist] = relationship(back_populates="albums")
    tracks: Mapped[list[Track]] = relationship(back_populates="album", order_by="Track.track_id")


class Genre(Base):
    __tablename__ = "genre"

    genre_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class MediaType(Base):
    __tablename__ = "media_type"

    media_type_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


playlist_track = Table(
    "playlist_track",
    Base.metadata,
    Column("playlist_id", ForeignKey("playlist.playlist_id"), primary_key=True),
    Column("track_id", ForeignKey("track.track_id"), primary_key=True),
)


class Track(Base):
    __tablename__ = "track"

    track_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    composer: Mapped[str | None]
    milliseconds: Mapped[int]
    bytes: Mapped[int | None]
    unit_price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    album_id: Mapped[int | None] = mapped_column(ForeignKey("album.album_id"))
    media_type_id: Mapped[int] = mapped_column(ForeignKey("media_type.media_type_id"))
    genre_id: Mapped[int | None] = mapped_column(ForeignKey("genre.genre_id"))

    album: Mapped[Album | None] = relationship(back_populates="tracks")
    media_type: Mapped[MediaType] = relationship()
    genre: Mapped[Genre | None] = relationship()
    playlists: Mapped[list[Playlist]] = relationship(secondary=playlist_track, order_by="Playlist.playlist_id")
    lines: Mapped[list[InvoiceLine]] = relationship(back_populates="track", order_by="InvoiceLine.invoice_line_id")


class Playlist(Base):
    __tablename__ = "playlist"

    playlist_id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]

    tracks: Mapped[list[Track]] = relationship(secondary=playlist_track, order_by=Track.track_id, viewonly=True)


class Employee(Base):
    __tablename__ = "employee"

    employee_id: Mapped[int] = mapped_column(primary_key=True)
    last_name: Mapped[str]
    title: Mapped[str | None]
    reports_to: Mapped[int | None] = mapped_column(ForeignKey("employee.employee_id"))
    birth_date: Mapped[dt.datetime | None]

    boss: Mapped[Employee | None] = relationship(remote_side=[employee_id], back_populates="reports")
    reports: Mapped[list[Employee]] = relationship(back_populates="boss", order_by=employee_id)
    customers: Mapped[list[Customer]] = relationship(back_populates="support", order_by="Customer.customer_id")


class Customer(Base):
    __tablename__ = "customer"

    customer_id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str]
    company: Mapped[str | None]
    email: Mapped[str]
    support_rep_id: Mapped[int | None] = mapped_column(ForeignKey("employee.employee_id"))

    support: Mapped[Employee | None] = relationship(back_populates="customers")
    invoices: Mapped[list[Invoice]] = relationship(back_populates="customer", order_by="Invoice.invoice_id")


class Invoice(Base):
    __tablename__ = "invoice"

    invoice_id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.customer_id"))
    invoice_date: Mapped[dt.datetime]
    total: Mapped[Decimal] = mapped_column(Numeric(10, 2))

    customer: Mapped[Customer] = relationship(back_populates="invoices")
    lines: Mapped[list[InvoiceLine]] = relationship(back_populates="invoice", order_by="InvoiceLine.invoice_line_id")


class InvoiceLine(Base):
    __tablename__ = "invoice_line"

    invoice_line_id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoice.invoice_id"))
    track_id: Mapped[int] = mapped_column(ForeignKey("track.track_id"))
    unit_price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    quantity: Mapped[int]

    invoice: Mapped[Invoice] = relationship(back_populates="lines")
    track: Mapped[Track] = relationship(back_populates="lines")
