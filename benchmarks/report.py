"""Write the saved figures into docs/benchmarks.md, between its markers: python -m benchmarks.report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.measure import ms
from benchmarks.results import FOLDER, load

PAGE = FOLDER.with_suffix(".md")
TITLES = {"nested": "50 x 20 x 5 nested", "flat": "1,000 flat rows", "by_key": "one row by key"}
DATABASES = {"postgresql": "PostgreSQL through asyncpg", "sqlite": "SQLite through aiosqlite"}
OURS, ORM = "Querywright", "SQLAlchemy + Pydantic"


def machine(saved: Any) -> Iterator[str]:
    """Say what the figures depend on."""
    facts = saved["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    yield f"{facts['cores']} cores, Python {facts['python']}; {packages}."
    yield f"Rounds: {saved['scale']:.0%} of the full number (`SCALE={saved['scale']:g}`)."
    if (waited := saved.get("waited")) is not None:
        yield f"The measuring process waited for a core, which others used, during {waited:.0%} of its work."


def jobs(saved: Any) -> Iterator[str]:
    """Write the table of the three jobs: time and total CPU of each contender."""
    for database, where in DATABASES.items():
        figures = saved["figures"][database]
        heads = [f"{title}: {what}" for title in TITLES.values() for what in ("time", "CPU")]
        rows = []
        for name in figures["nested"]:
            cells = (ms(figures[job][name][what]) for job in TITLES for what in ("wall", "cpu"))
            rows.append((_name(name), *cells))
        yield from _table([where, *heads], rows)


def web(saved: Any) -> Iterator[str]:
    """Write the requests per second over HTTP."""
    heads = ["FastAPI over HTTP", "requests per second", "ratio", "p50", "p99", "CPU per request"]
    rows = []
    for job, figures in saved["figures"].items():
        for name, one in figures.items():
            ratio = one["per_second"] / figures[ORM]["per_second"]
            times = (ms(one[key]) for key in ("p50", "p99", "cpu"))
            rows.append((f"{TITLES[job]}: {_name(name)}", f"{one['per_second']:.0f}", f"{ratio:.1f}", *times))
    yield from _table(heads, rows)


def growth(saved: Any) -> Iterator[str]:
    """Write the ends of the growth charts, and the round trips."""
    figures = saved["figures"]
    heads = ["growth", OURS, ORM, "ratio"]
    rows = []
    for key, words in {"depth": "levels: {} (10 root rows)", "width": "root rows: {} (3 levels)"}.items():
        for suffix, where in {"": "same machine", "_far": "1 ms away"}.items():
            rows += [
                (f"{words.format(f'{int(step):,}')}, {where}", ms(ours), ms(theirs), f"{theirs / ours:.1f}")
                for step, ours, theirs in _ends(figures[key + suffix])
            ]
    trips = [figures["counts"][name] for name in (OURS, ORM)]
    rows.append(("round trips, 4 levels", *(str(one["round_trips"]) for one in trips), ""))
    rows.append(("SELECT statements, 4 levels", *(str(one["statements"]) for one in trips), ""))
    yield from _table(heads, rows)


def _ends(figures: Any) -> Iterator[tuple[str, float, float]]:
    steps = list(figures)
    for step in (steps[0], steps[-1]):
        yield step, figures[step][OURS]["wall"], figures[step][ORM]["wall"]


def sizes(saved: Any) -> Iterator[str]:
    """Write what a stream of a million rows takes, and how far a far page is."""
    figures = saved["figures"]
    yield "## Any size"
    rows = [
        (name, f"{one['seconds']:.1f} s", f"{one['megabytes']:.0f} MB", f"{one['extra_memory']:.1f} MB")
        for name, one in figures["streams"].items()
    ]
    yield from _table(["1,000,000 rows", "time", "bytes", "extra memory"], rows)
    pages = [(name, ms(one["first"]), ms(one["far"]), f"{one['ratio']:.2f}") for name, one in figures["pages"].items()]
    yield from _table(["pages of 20 rows", "page 1", "page 10,000", "ratio"], pages)


def _table(heads: list[str], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield f"|---|{'--:|' * (len(heads) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _name(name: str) -> str:
    return f"**{name}**" if name == OURS else name


SECTIONS = {"machine": machine, "jobs": jobs, "web": web, "growth": growth, "sizes": sizes}


def write() -> None:
    """Replace what stands between the markers of each benchmark that has saved figures."""
    page = PAGE.read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        saved = load("jobs" if name == "machine" else name)
        if saved is None:
            continue
        body = "\n".join(section(saved)).strip()
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page, count = pattern.subn(lambda _, text=f"{begin}\n{body}\n{end}": text, page)
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} pairs of the markers of {name!r}")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write()
    print(f"written: docs/{PAGE.name}")
