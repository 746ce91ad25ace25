"""Read from the code of a path operation what it calls: its own functions, and those of its package that they name."""

from __future__ import annotations

import dis
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

__all__ = ["Calls", "calls_of"]

_FOREIGN = frozenset({"builtins", "fastapi", "starlette", "querywright", ""})
_ONE = frozenset({"one", "json_one"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
# Python 3.11 and 3.12 have an instruction for the names of keywords; before and after, they are the constant before.
_KEYWORDS = "KW_NAMES"
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
_RAISE, _COMPARE = "RAISE_VARARGS", "COMPARE_OP"
_HTTP_EXCEPTION = "HTTPException"
# ``status.HTTP_409_CONFLICT``, of FastAPI and Starlette.
_STATUS_NAME = re.compile(r"HTTP_(\d{3})_[A-Z_]+")
_WITH_KEYWORDS = frozenset({"CALL_FUNCTION_KW", "CALL_KW"})


_ERRORS = frozenset(status for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST)


@dataclass
class Calls:
    """What some functions do, as far as their code tells.

    Attributes:
        names: The names of what they call and read.
        values: What those names stand for, where that can be told.
        one: Whether something is read that need not be there; what is read after a flush was just written.
        narrowed: Whether a fetch is narrowed to the fields that a client asks for.
        raised: The statuses that an HTTPException is raised with.
    """

    names: set[str] = field(default_factory=set)
    values: list[Any] = field(default_factory=list)
    one: bool = False
    narrowed: bool = False
    raised: set[HTTPStatus] = field(default_factory=set)

    def add(self, function: FunctionType) -> None:
        """Read one function."""
        read = _Reading()
        read.add(function.__code__)
        names = read.names
        self.one |= not _ONE.isdisjoint(names[: names.index("flush")] if "flush" in names else names)
        self.narrowed |= "fields" in read.keywords and "fetch" in names
        self.raised |= read.raised
        self.names.update(names)
        self.values.extend(_values(function, read.global_names))


@dataclass
class _Reading:
    """What code mentions, in its order; with global names apart, the keywords of its calls, and statuses it raises."""

    names: list[str] = field(default_factory=list)
    global_names: set[str] = field(default_factory=set)
    keywords: set[str] = field(default_factory=set)
    raised: set[HTTPStatus] = field(default_factory=set)

    def add(self, code: CodeType) -> None:
        before: Any = None
        self.raised.update(_raised(code))
        for each in dis.get_instructions(code):
            if each.opname in _ATTRIBUTE | _GLOBAL:
                self.names.append(str(each.argval))
            if each.opname in _GLOBAL:
                self.global_names.add(each.argval)
            elif each.opname == _KEYWORDS:
                self.keywords.update(each.argval)
            elif each.opname in _WITH_KEYWORDS and isinstance(before, tuple):
                self.keywords.update(before)
            before = each.argval
        for inner in (each for each in code.co_consts if isinstance(each, CodeType)):
            self.add(inner)


def calls_of(functions: Iterable[Callable[..., Any]]) -> Calls:
    """Follow functions into those of their packages that they name, also by way of a class, an object or a module.

    Args:
        functions: A path operation and its dependencies.
    """
    found = Calls(values=list(functions))
    packages = {_package(each) for each in found.values} - _FOREIGN
    seen: dict[FunctionType, None] = {}
    while new := [each for each in _reached(found, packages) if each not in seen]:
        seen.update(dict.fromkeys(new))
        for each in dict.fromkeys(new):
            found.add(each)
    return found


def _reached(found: Calls, packages: set[str]) -> Iterator[FunctionType]:
    """List the functions that the values are, and those that lie in them under a name that is mentioned."""
    for value in list({id(each): each for each in found.values}.values()):
        holder = value if inspect.isclass(value) or isinstance(value, ModuleType) else type(value)
        within = found.names | {"__init__", "__call__"} if _package(holder) in packages else ()
        for each in (value, *(inspect.getattr_static(holder, name, None) for name in within)):
            function = _function(each)
            if function is not None and _package(function) in packages:
                yield function


def _package(value: Any) -> str:
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return str(name or "").partition(".")[0]


def _function(value: Any) -> FunctionType | None:
    """Find the function that runs where something is called."""
    if isinstance(value, partial):
        value = value.func
    elif isinstance(value, (staticmethod, classmethod, MethodType)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    value = inspect.unwrap(value) if isinstance(value, FunctionType) else None
    return value if isinstance(value, FunctionType) else None


def _raised(code: CodeType) -> Iterator[HTTPStatus]:
    """Find the statuses between the name of HTTPException and where it is raised: it may be one or the other."""
    raising = False
    branches: set[Any] = set()
    for each, following in pairwise(dis.get_instructions(code)):
        raising |= each.argval == _HTTP_EXCEPTION or each.offset in branches
        status = _status(each.argval)
        if raising and each.opcode in _JUMPS:
            branches.add(each.argval)
        elif raising and status is not None and following.opname != _COMPARE:
            yield status
        raising &= each.opname != _RAISE


def _status(value: Any) -> HTTPStatus | None:
    """Read a status as code has it: a number, or the name of one."""
    if isinstance(value, str):
        found = _STATUS_NAME.fullmatch(value)
        value = int(found[1]) if found else HTTPStatus.__members__.get(value)
    return HTTPStatus(value) if type(value) in {int, HTTPStatus} and value in _ERRORS else None


def _values(function: FunctionType, names: set[str]) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        # An empty cell is a variable that is not set yet.
        with suppress(ValueError):
            yield cell.cell_contents
    for name in names & function.__globals__.keys():
        yield function.__globals__[name]
