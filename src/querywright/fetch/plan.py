"""Turn a response model and a mapped class into a plan; every mismatch is an error that names the field."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy.orm import ColumnProperty, Mapper, RelationshipProperty

from querywright.errors import ShapeError
from querywright.fetch.annotations import Wanted, input_key, output_key, read_field, writes_plain_json
from querywright.fetch.columns import accepts, encoding_of, is_exact, unwrap_type
from querywright.fetch.nodes import Encoding, Field, Scalar, Shape, ToMany, ToOne

__all__ = ["plan"]


@lru_cache(maxsize=1024)
def plan(model: type[BaseModel], mapper: Mapper[Any]) -> Shape:
    """Plan how a mapped class fills a response model.

    Args:
        model: The response model.
        mapper: The mapper of the class that the statement selects.

    Raises:
        ShapeError: A field cannot be filled; the message names its path.
    """
    return _shape(model, mapper, model.__name__, ())


def _shape(model: type[BaseModel], mapper: Mapper[Any], path: str, parents: tuple[type[BaseModel], ...]) -> Shape:
    if model in parents:
        raise ShapeError(path, f"{model.__name__} is nested in itself.", hint="Declare one model for each level.")
    _require_complete(model, path)
    fields: list[Field] = []
    exact = writes_plain_json(model)
    for name, info in model.model_fields.items():
        wanted = read_field(info)
        node = _field(name, info, wanted, mapper, f"{path}.{name}", (*parents, model))
        exact = exact and wanted.plain and _is_exact(node, wanted)
        fields.append(node)
    if not fields:
        raise ShapeError(path, f"{model.__name__} has no fields.")
    documents = any(
        node.shape.documents if isinstance(node, (ToOne, ToMany)) else _is_document(node) for node in fields
    )
    return Shape(path, model, mapper, tuple(fields), exact, documents)


def _is_document(node: Field) -> bool:
    return isinstance(node, Scalar) and node.encoding is Encoding.JSON


def _require_complete(model: type[BaseModel], path: str) -> None:
    """Resolve forward references, as Pydantic does on first use."""
    if model.model_rebuild() is False or getattr(model, "__pydantic_root_model__", False):
        raise ShapeError(path, f"{model.__name__} is not a model with resolved, named fields.")


def _is_exact(node: Field, wanted: Wanted) -> bool:
    if isinstance(node, Scalar):
        return is_exact(node.encoding, node.type, wanted.type)
    return isinstance(node, (ToOne, ToMany)) and node.shape.exact


def _field(
    name: str, info: FieldInfo, wanted: Wanted, mapper: Mapper[Any], path: str, parents: tuple[type[BaseModel], ...]
) -> Field:
    """Find what fills one field."""
    source = mapper.attrs.get(name)
    common = (path, name, output_key(name, info), _input_key(name, info, parents[-1], path))
    if isinstance(source, ColumnProperty):
        return _scalar(source, wanted, mapper, common)
    if isinstance(source, RelationshipProperty):
        return _related(source, wanted, mapper, common, parents)
    raise _no_such_attribute(name, mapper, path)


def _input_key(name: str, info: FieldInfo, model: type[BaseModel], path: str) -> str:
    key = input_key(name, info, model)
    if key is None:
        raise ShapeError(path, "its validation alias is only a path.", hint="Add a plain name to its AliasChoices.")
    return key


def _scalar(
    source: ColumnProperty[Any], wanted: Wanted, mapper: Mapper[Any], common: tuple[str, str, str, str]
) -> Scalar:
    path, column = common[0], source.columns[0]
    where = f"{mapper.class_.__name__}.{source.key}"
    if wanted.model and not _is_json(column):
        raise ShapeError(path, f"{where} is a column, the field wants {_name(wanted.type)}.")
    column_type = unwrap_type(column.type)
    encoding = encoding_of(column_type)
    if encoding is None:
        raise ShapeError(path, f"{where} has the type {column_type!r}, which SQL cannot write as JSON yet.")
    # Whether an expression can be NULL is not known; if it is, the row is reported when it is fetched.
    if getattr(column, "nullable", False) and not wanted.nullable:
        hint = f"Write {_name(wanted.type)} | None, or make the column NOT NULL."
        raise ShapeError(path, f"{where} may be NULL, the field may not.", hint=hint)
    if allowed := accepts(encoding, column_type, wanted.type):
        hint = f"Annotate it as {' or '.join(map(_name, allowed))}."
        raise ShapeError(path, f"{where} holds a {encoding.value}, the field wants {_name(wanted.type)}.", hint=hint)
    return Scalar(*common, encoding=encoding, type=column_type, nullable=wanted.nullable)


def _is_json(column: Any) -> bool:
    return encoding_of(unwrap_type(column.type)) is Encoding.JSON


def _related(
    source: RelationshipProperty[Any],
    wanted: Wanted,
    mapper: Mapper[Any],
    common: tuple[str, str, str, str],
    parents: tuple[type[BaseModel], ...],
) -> Field:
    path, where = common[0], f"{mapper.class_.__name__}.{source.key}"
    if wanted.model is None:
        raise ShapeError(path, f"{where} is a relationship, the field wants {_name(wanted.type)}.")
    if bool(source.uselist) is not wanted.many:
        model = _name(wanted.type)
        has, hint = ("many rows", f"list[{model}]") if source.uselist else ("at most one row", f"{model} | None")
        raise ShapeError(path, f"{where} leads to {has}, the field does not.", hint=f"Annotate it as {hint}.")
    if wanted.many:
        return ToMany(*common, shape=_shape(wanted.model, source.mapper, f"{path}[]", parents))
    if not wanted.nullable and not _always_leads_to_a_row(source):
        hint = f"Write {_name(wanted.type)} | None."
        raise ShapeError(path, f"{where} may lead to no row, the field does not accept that.", hint=hint)
    return ToOne(*common, shape=_shape(wanted.model, source.mapper, path, parents), nullable=wanted.nullable)


def _always_leads_to_a_row(source: RelationshipProperty[Any]) -> bool:
    """Only a foreign key that is never NULL promises the other row."""
    is_foreign_key = source.direction.name == "MANYTOONE"
    return is_foreign_key and not any(getattr(column, "nullable", True) for column in source.local_columns)


def _no_such_attribute(name: str, mapper: Mapper[Any], path: str) -> ShapeError:
    owner = mapper.class_.__name__
    other = mapper.all_orm_descriptors.get(name)
    if other is not None:
        return ShapeError(path, f"{owner}.{name} is neither a column nor a relationship.")
    near = difflib.get_close_matches(name, mapper.attrs.keys(), n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(sorted(mapper.attrs.keys()))}."
    return ShapeError(path, f"{owner} has no attribute {name!r}.", hint=hint)


def _name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
