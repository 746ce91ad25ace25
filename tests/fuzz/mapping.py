"""Make mapped classes of an invented schema, each time with a registry of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import ForeignKeyConstraint, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint, and_
from sqlalchemy.orm import DeclarativeBase, foreign, relationship, remote

from tests.fuzz.schemas import Association, Column, Entity, Order, Reference, Schema, View


@dataclass(frozen=True)
class Mapped:
    """Mapped classes, in the order of their schema, and the tables of its associations."""

    schema: Schema
    base: type[DeclarativeBase]
    classes: tuple[type[Any], ...]
    tables: tuple[Table, ...]

    @property
    def metadata(self) -> MetaData:
        return self.base.metadata

    def dispose(self) -> None:
        """Let SQLAlchemy forget the classes."""
        self.base.registry.dispose()


def map_classes(schema: Schema) -> Mapped:
    base = cast("type[DeclarativeBase]", type("Invented", (DeclarativeBase,), {}))
    classes: list[type[Any]] = []
    for index, entity in enumerate(schema.entities):
        links = [link for link in schema.references if link.owner == index]
        table, columns = _table(entity, links, base.metadata, classes)
        classes.append(type(entity.name, (base,), {"__table__": table, **columns}))
    tables = tuple(_association_table(link, base.metadata, classes, schema) for link in schema.associations)
    for ref in schema.references:
        _relate_reference(ref, classes)
    for link, table in zip(schema.associations, tables, strict=True):
        _relate_association(link, table, classes, schema)
    for view in schema.views:
        _relate_view(view, classes)
    base.registry.configure()
    return Mapped(schema, base, tuple(classes), tables)


def _column(column: Column, *, key: bool = False) -> sa.Column[Any]:
    column_type = column.kind.make(column.type_name)
    return sa.Column(column.name, column_type, primary_key=key, nullable=column.nullable, autoincrement=False)


def _table(
    entity: Entity, links: list[Reference], metadata: MetaData, classes: list[type[Any]]
) -> tuple[Table, dict[str, sa.Column[Any]]]:
    made = {column.attribute: _column(column, key=column in entity.key) for column in entity.columns}
    keys = [made[column.attribute] for column in entity.key]
    constraints: list[Any] = []
    for link in links:
        own = {column.attribute: _column(column) for column in link.columns}
        targets = keys if link.target == len(classes) else _keys(classes[link.target], link.columns)
        made |= own
        constraints.append(ForeignKeyConstraint(list(own.values()), targets))
        constraints += [UniqueConstraint(*own.values())] if link.unique else []
    return Table(entity.table, metadata, *made.values(), *constraints), made


def _keys(cls: type[Any], matching: tuple[Any, ...]) -> list[Any]:
    keys = list(sa.inspect(cls).local_table.primary_key)
    assert len(keys) == len(matching)
    return keys


def ordering(cls: Any, order: Order) -> list[Any]:
    """Write an order for a class, or an alias of it."""
    return [getattr(cls, name).desc() if down else getattr(cls, name).asc() for name, down in order]


def _attributes(cls: type[Any], columns: tuple[Column, ...]) -> list[Any]:
    return [getattr(cls, column.attribute) for column in columns]


def _relate_reference(ref: Reference, classes: list[type[Any]]) -> None:
    owner, target = classes[ref.owner], classes[ref.target]
    own, keys = _attributes(owner, ref.columns), _keys(target, ref.columns)
    if ref.forward:
        one = relationship(target, foreign_keys=own, remote_side=keys, back_populates=ref.backward)
        setattr(owner, ref.forward, one)
    if ref.backward:
        order = ordering(owner, ref.order)
        many = relationship(
            owner, foreign_keys=own, remote_side=own, uselist=not ref.unique, order_by=order, back_populates=ref.forward
        )
        setattr(target, ref.backward, many)


def _association_table(link: Association, metadata: MetaData, classes: list[type[Any]], schema: Schema) -> Table:
    sides = ((link.left, link.left_columns), (link.right, link.right_columns))
    parts: list[Any] = []
    for index, names in sides:
        kinds = [column.kind for column in schema.entities[index].key]
        columns = [sa.Column(name, kind.make(""), nullable=False) for name, kind in zip(names, kinds, strict=True)]
        parts += [*columns, ForeignKeyConstraint(columns, _keys(classes[index], names))]
    keys = [part for part in parts if isinstance(part, sa.Column)]
    position = [sa.Column(link.position, sa.Integer, nullable=False)] if link.position else []
    return Table(link.table, metadata, *parts, *position, PrimaryKeyConstraint(*keys))


def _relate_association(link: Association, table: Table, classes: list[type[Any]], schema: Schema) -> None:
    left, right = classes[link.left], classes[link.right]
    columns = list(table.c)
    count = len(link.left_columns)
    to_left = and_(*map(_equal, _keys(left, link.left_columns), columns[:count]))
    to_right = and_(*map(_equal, _keys(right, link.right_columns), columns[count:][: len(link.right_columns)]))
    position = [table.c[link.position]] if link.position else []

    def many(to: type[Any], first: Any, second: Any, order: Order, back: str | None) -> Any:
        by = position or ordering(to, order)
        return relationship(
            to, secondary=table, primaryjoin=first, secondaryjoin=second, order_by=by, back_populates=back
        )

    setattr(left, link.forward, many(right, to_left, to_right, link.orders[0], link.backward))
    if link.backward:
        setattr(right, link.backward, many(left, to_right, to_left, link.orders[1], link.forward))


def _equal(left: Any, right: Any) -> Any:
    return left == right


def _relate_view(view: View, classes: list[type[Any]]) -> None:
    owner, target = classes[view.owner], classes[view.target]
    ours, theirs = view.equal
    condition = getattr(owner, ours) == foreign(remote(getattr(target, theirs)))
    if view.unlike:
        attribute, value = view.unlike
        column = remote(getattr(target, attribute)) if view.owner == view.target else getattr(target, attribute)
        condition = and_(condition, column != value)
    order = ordering(target, view.order)
    setattr(
        owner, view.attribute, relationship(target, primaryjoin=condition, viewonly=True, uselist=True, order_by=order)
    )
