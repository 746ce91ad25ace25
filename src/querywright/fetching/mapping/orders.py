"""Take the clauses of an ORDER BY apart: what rows are ordered by, and the words on its direction and on NULL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

__all__ = ["apart", "together", "unreferred"]

_WORDS = {operators.asc_op, operators.desc_op, operators.nulls_first_op, operators.nulls_last_op}


def apart(clause: Any) -> tuple[Any, list[Any]]:
    """Take a clause apart; the operators of the words come in their order from the outside."""
    words = []
    clause = unreferred(clause)
    while isinstance(clause, UnaryExpression) and clause.modifier in _WORDS:
        words.append(clause.modifier)
        clause = unreferred(clause.element)
    return clause, words


def together(expression: Any, words: Sequence[Any]) -> Any:
    """Put a clause together again, of another expression."""
    for word in reversed(words):
        expression = UnaryExpression(expression, modifier=word, wraps_column_expression=False)
    return expression


def unreferred(clause: Any) -> Any:
    """Look through what lets SQLAlchemy write the name of a label in the place of its expression."""
    return clause.element if type(clause).__name__ == "_label_reference" else clause
