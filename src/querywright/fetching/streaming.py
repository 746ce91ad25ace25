"""Join the rows of a stream into pieces of one JSON array, or into lines."""

from __future__ import annotations

from collections.abc import Iterator

from querywright.fetching.compile.form import Form
from querywright.fetching.execute.answers import client_bytes
from querywright.fetching.execute.compiled import CompiledFetch
from querywright.fetching.execute.fetches import batches_of
from querywright.fetching.execute.query import Query
from querywright.fetching.execute.run import Bind

__all__ = ["BATCH", "streamed_json"]

# Rows that a stream reads at once: enough that a round trip for each batch does not count.
BATCH = 500


def streamed_json(query: Query, bind: Bind, *, lines: bool, batch: int) -> Iterator[bytes]:
    """Yield all rows as pieces of an array, or of lines."""
    form = query.client_form(Form(array=False))
    opening = b"" if lines else b"["
    for compiled, texts in batches_of(query, bind, form, batch):
        yield _lines(query, compiled, texts, form) if lines else opening + _elements(query, compiled, texts, form)
        opening = b","
    if not lines:
        # Nothing was yielded before: the array is empty.
        yield b"[]" if opening == b"[" else b"]"


def _elements(query: Query, compiled: CompiledFetch, texts: list[str], form: Form) -> bytes:
    return client_bytes(query, compiled, f"[{','.join(texts)}]", form, many=True)[1:-1]


def _lines(query: Query, compiled: CompiledFetch, texts: list[str], form: Form) -> bytes:
    return b"".join(client_bytes(query, compiled, text, form, many=False) + b"\n" for text in texts)
