"""Split a fetch into one statement for each level: lists are left open, and filled by the rows of the next level.

Where the array of a relationship belongs, the JSON of a row has a slot: a number and the row's key between two U+0002,
which JSON text never holds. The statement of a slot returns the rows that belong to many keys at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Dialect, Select, bindparam, select, tuple_
from sqlalchemy.orm import Mapper, aliased

from querywright.fetch import related
from querywright.fetch.attributes import Attribute, Discriminator, attribute_of, identity_of
from querywright.fetch.binding import Binder
from querywright.fetch.form import Form
from querywright.fetch.nodes import Plan, Scalar, ToMany
from querywright.fetch.reading import row_reader
from querywright.fetch.related import Level
from querywright.fetch.scalars import internal
from querywright.fetch.writers import JsonWriter

__all__ = ["KEYS", "Filling", "OpenList", "Slot", "choose", "fill", "key_of", "keys_in", "statement_of"]

KEYS = "querywright_keys"
_SLOT = re.compile("\x02(\\d+):([^\x02]*)\x02")


@dataclass(frozen=True)
class OpenList:
    """A list that another statement fills.

    Attributes:
        number: Its number in the plan.
        node: What fills it.
        mapper: The class of the rows it belongs to.
    """

    number: int
    node: ToMany
    mapper: Mapper[Any]


@dataclass(frozen=True)
class Slot:
    """The compiled statement of an open list.

    Attributes:
        binder: Returns the key of a row above and the JSON of a row that belongs to it.
        key: The primary key of the rows above.
    """

    binder: Binder
    key: tuple[Scalar, ...]

    def values(self, keys: Sequence[str], dialect: Dialect) -> list[Any]:
        """Turn keys, as they stand in slots, into values to bind."""
        read_key = row_reader(self.key, dialect)
        read = [read_key(json.loads(key)) for key in keys]
        return [values[0] for values in read] if len(self.key) == 1 else read


def choose(form: Form, plan: Plan, statement: Select[Any], writer: JsonWriter) -> Form:
    """Decide how a fetch of all rows is run.

    Left to itself, a statement with a limit is run as it is. Without one, the database first counts the rows, and
    leaves the rest to the levels if their JSON would be too large.
    """
    if plan.depth == 0 or form.strategy == "statement":
        return form
    too_deep = writer.most_lists is not None and plan.depth > writer.most_lists
    if form.strategy == "levels" or too_deep:
        return replace(form, array=False, split=True)
    limited = statement._has_row_limiting_clause  # noqa: SLF001 - nothing public
    # Where the client joins the rows, the database holds one at a time.
    return form if limited or not form.array or writer.client_joins else replace(form, guarded=True)


def key_of(mapper: Mapper[Any]) -> tuple[Scalar, ...]:
    """Plan how what tells the rows of a class apart is written into a slot."""
    return tuple(_part(source, mapper) for source in identity_of(mapper))


def _part(source: str | Discriminator, mapper: Mapper[Any]) -> Scalar:
    if isinstance(source, str):
        return internal(attribute_of(mapper, source, source), source)
    where = f"{mapper.class_.__name__}'s discriminator"
    made = Attribute("", source(mapper.class_).type, nullable=False, where=where)
    return replace(internal(made, where), source=source)


def statement_of(compiler: Any, open_list: OpenList) -> Any:
    """Write the statement that fills a list of many rows at once."""
    node, parent = open_list.node, aliased(open_list.mapper.class_)
    above = Level(parent, parent)
    inner = related.enter(node.relationship, above, compiler.criteria, node.rows)
    item = compiler.writer.checked(compiler.element(node.target, inner), node.path)
    order = related.order_of(node.relationship, inner, node.rows, node.path)
    keys = related.identity_columns(parent)
    wanted: Any = bindparam(KEYS, expanding=True)
    assert inner.link is not None  # noqa: S101 - it was entered from a level
    statement = select(compiler.key_text(open_list.mapper, above).label("k"), item.label("o")).select_from(parent)
    statement = inner.joined(inner.link.join_from_above(statement, inner.source))
    chosen = (keys[0] if len(keys) == 1 else tuple_(*keys)).in_(wanted)
    return compiler.finished(inner.link.tied(statement.where(chosen).order_by(*order)), node.target)


def keys_in(texts: Sequence[str]) -> dict[int, list[str]]:
    """Find the open lists in the JSON of some rows: for each number the keys, each once."""
    found: dict[int, dict[str, None]] = {}
    for text in texts:
        for number, key in _SLOT.findall(text):
            found.setdefault(int(number), {})[key] = None
    return {number: list(keys) for number, keys in found.items()}


@dataclass
class Filling:
    """The rows of open lists while they are fetched.

    Attributes:
        rows: For each list's number, by key, the JSON of its rows.
    """

    rows: dict[int, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, number: int, rows: Sequence[Any]) -> list[str]:
        """Keep rows, each with its key; return their JSON."""
        lists = self.rows.setdefault(number, {})
        texts = []
        for key, text in rows:
            lists.setdefault(key, []).append(text)
            texts.append(text)
        return texts


def fill(texts: Sequence[str], filling: Filling) -> Iterator[str]:
    """Put the rows of each list where it was left open."""

    def array(match: re.Match[str]) -> str:
        rows = filling.rows.get(int(match[1]), {}).get(match[2], ())
        return f"[{','.join(closed(row) for row in rows)}]"

    def closed(text: str) -> str:
        return _SLOT.sub(array, text) if "\x02" in text else text

    return map(closed, texts)
