"""Describe a plan, field by field: what fills it, and whether SQL or the model writes it."""

from __future__ import annotations

from dataclasses import dataclass

from querywright.fetching.plan.nodes import Aggregate, Field, Plan, Scalar, Shape, ToOne, walk

__all__ = ["FieldReport", "PlanReport", "report_of"]


@dataclass(frozen=True)
class FieldReport:
    """How one field is filled.

    Attributes:
        path: Where the field is, from the root model.
        source: What fills it: an attribute, a marker or an expression.
        written_as: How its values are written in SQL; empty for nested rows.
        reason: Why the model has to write it; empty if SQL can.
    """

    path: str
    source: str
    written_as: str
    reason: str


@dataclass(frozen=True)
class PlanReport:
    """How a response model is filled.

    Attributes:
        exact: Whether the database alone writes the JSON; if not, the model validates and writes every row.
        fields: Each field, nested ones after the one they are in.
        reasons: Each path that only the model can write, and why.
    """

    exact: bool
    fields: tuple[FieldReport, ...]
    reasons: dict[str, str]

    def __str__(self) -> str:
        """Draw a table."""
        path = "the database writes the JSON" if self.exact else "the model writes the JSON"
        width = max(len(field.path) for field in self.fields)
        lines = [
            f"  {field.path:{width}}  {field.source}"
            + (f" as {field.written_as}" if field.written_as else "")
            + (f"; {field.reason}" if field.reason else "")
            for field in self.fields
        ]
        models = [f"  {path}: {why}" for path, why in self.reasons.items() if path not in {f.path for f in self.fields}]
        return "\n".join([path, *models, *lines])


def report_of(plan: Plan) -> PlanReport:
    """Describe a plan."""
    shapes = [node for node in walk(plan.root) if isinstance(node, Shape)]
    fields = tuple(_report(field) for shape in shapes for field in shape.fields)
    reasons = {shape.path: shape.reason for shape in shapes if shape.reason}
    reasons |= {field.path: field.reason for field in fields if field.reason}
    return PlanReport(plan.exact, fields, reasons)


def _report(field: Field) -> FieldReport:
    node = field.value
    while isinstance(node, (ToOne, Aggregate)):
        [node] = node.inner
    written = node.encoding.value if isinstance(node, Scalar) else ""
    return FieldReport(field.path, field.source, written, field.reason)
