"""What a response model may do to its values: then the model validates and writes each row, and not SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import computed_field, field_serializer, field_validator, model_serializer, model_validator


def _field_validator(name: str) -> dict[str, Any]:
    def change(_cls: Any, value: Any) -> Any:
        # Not an enum of texts: the field would no longer hold one, and Pydantic warns when it writes it.
        return f"{value}!" if type(value) is str else value

    return {"checked": field_validator(name, mode="after", check_fields=False)(classmethod(change))}


def _wrap_validator(name: str) -> dict[str, Any]:
    def change(_cls: Any, value: Any, handler: Any) -> Any:
        return handler(value)

    return {"wrapped": field_validator(name, mode="wrap", check_fields=False)(classmethod(change))}


def _refusal(name: str) -> dict[str, Any]:
    def refuse(_cls: Any, value: Any) -> Any:
        if not value:
            raise ValueError("it is empty")
        return value

    return {"refused": field_validator(name, mode="after", check_fields=False)(classmethod(refuse))}


def _field_serializer(name: str) -> dict[str, Any]:
    def write(self: Any, value: Any) -> str:
        return f"<{value}>"

    return {"written": field_serializer(name, check_fields=False)(write)}


def _model_validator(_name: str) -> dict[str, Any]:
    def keep(self: Any) -> Any:
        return self

    return {"kept": model_validator(mode="after")(keep)}


def _model_serializer(_name: str) -> dict[str, Any]:
    def write(self: Any, handler: Any) -> dict[str, Any]:
        return {"wrapped": handler(self)}

    return {"wrapping": model_serializer(mode="wrap")(write)}


def _computed_field(name: str) -> dict[str, Any]:
    def computed(self: Any) -> bool:
        return getattr(self, name) is None

    return {"computed_by_model": computed_field(property(computed))}


HOOKS: dict[str, Callable[[str], dict[str, Any]]] = {
    "field validator": _field_validator,
    "wrap validator": _wrap_validator,
    "refusal": _refusal,
    "field serializer": _field_serializer,
    "model validator": _model_validator,
    "model serializer": _model_serializer,
    "computed field": _computed_field,
}
