"""Make of what the database wrote what a caller gets: model instances, or bytes for a client."""

from __future__ import annotations

from typing import Any

from querywright.fetching.compile.form import Form
from querywright.fetching.decode.models import Dump, rewritten, validate
from querywright.fetching.decode.reshaping import reshaped
from querywright.fetching.decode.text import to_bytes
from querywright.fetching.execute.compiled import CompiledFetch
from querywright.fetching.execute.query import Query

__all__ = ["client_bytes", "instances"]


def instances(query: Query, compiled: CompiledFetch, text: str, *, many: bool) -> Any:
    """Make model instances."""
    return validate(query.model, text, compiled.read, many=many)


def client_bytes(query: Query, compiled: CompiledFetch, text: str, form: Form, *, many: bool) -> bytes:
    """Make bytes for a client, or let the model write them."""
    if not compiled.layout.for_model:
        documents = compiled.plan.documents
        return to_bytes(text, documents=documents, capitals=compiled.capitals, bare_infinity=compiled.bare_infinity)
    how = Dump(form.by_alias, form.exclude_none)
    written = rewritten(query.model, text, compiled.read, how, many=many)
    return reshaped(written, compiled.plan, how, query.fieldset)
