"""Tell what was seen, what was compared, what was refused and why, and what was different."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.differential.explained import EXPLAINED, Explained

__all__ = ["Tally", "report", "tally"]

SEEN = "one entity"
_WRONG = {"different", "failed"}
_NAMES = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass
class Tally:
    """The figures of one database."""

    kinds: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    verbs: dict[str, Counter[str]] = field(default_factory=dict)
    pages_refused: Counter[str] = field(default_factory=Counter)
    explained: Counter[Explained] = field(default_factory=Counter)
    wrong: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many statements of one entity there were."""
        return self.kinds[SEEN]

    @property
    def good(self) -> bool:
        """Whether each difference has an explanation."""
        return not self.wrong

    def add(self, line: dict[str, Any]) -> None:
        """Count a statement."""
        self.kinds[line["kind"]] += 1
        if line["kind"] != SEEN:
            return
        if "unseen" in line:
            self._beyond(line)
            return
        verbs: dict[str, tuple[str, str]] = line["verbs"]
        state, reason = verbs.get("all") or next(iter(verbs.values()))
        if state == "refused":
            self.refused[_reason(reason)] += 1
        elif state == "repeated":
            self.repeated += 1
        elif "all" in verbs:
            self.compared += 1
        else:
            self.beyond[f"{state}: {_reason(reason)}"] += 1
        for verb, (outcome, why) in verbs.items():
            self.verbs.setdefault(verb, Counter())[outcome] += 1
            if outcome == "refused" and verb.startswith("page"):
                self.pages_refused[_reason(why)] += 1
        self._wrong(line, {verb: why for verb, (outcome, why) in verbs.items() if outcome in _WRONG})

    def _beyond(self, line: dict[str, Any]) -> None:
        known = _explanation(line, line["unseen"])
        self.beyond[_NAMES.sub("N", line["unseen"])[:150]] += 1
        if known:
            self.explained[known] += 1

    def _wrong(self, line: dict[str, Any], whys: dict[str, str]) -> None:
        left = {verb: why for verb, why in whys.items() if not _explanation(line, why, verb)}
        for known in {_explanation(line, why, verb) for verb, why in whys.items()} - {None}:
            self.explained[known] += 1  # type: ignore[index]
        if left:
            self.wrong.append({**line, "left": left})


def _explanation(line: dict[str, Any], why: str, verb: str = "") -> Explained | None:
    return next((known for known in EXPLAINED if known.fits(line["test"], verb, why)), None)


def _reason(text: str) -> str:
    """Forget what a reason says of one place."""
    text = re.sub(r"^[\w.\[\]() ,]+?: ", "", text)
    text = re.sub(r"'[^']*'", "'...'", text)
    return re.sub(r"\b[A-Za-z_]\w*\.\w+(\.\w+)*", "X.y", _NAMES.sub("N", text))[:140]


def tally(lines: Iterable[str]) -> Tally:
    """Count the statements of a log."""
    found = Tally()
    for line in lines:
        found.add(json.loads(line))
    return found


def report(name: str, data: Path) -> tuple[list[str], bool]:
    """Tell the figures of a database, and whether they are good."""
    last = next(iter(reversed((data / f"{name}.log").read_text().splitlines())), "")
    with (data / f"{name}.jsonl").open() as lines:
        found = tally(lines)
    title = f"## {name}: SQLAlchemy's tests with a fetch beside each statement, {last.strip('= ')}"
    return ["", title, "", *_told(found)], found.good


def _told(found: Tally) -> Iterator[str]:
    refused, beyond = sum(found.refused.values()), sum(found.beyond.values())
    yield f"seen      {found.seen:6} select()s of one entity"
    yield f"compared  {_of(found.compared + found.repeated, found)}, of them {found.repeated} again with the same rows"
    yield f"refused   {_of(refused, found)}"
    yield f"beyond    {_of(beyond, found)}: no rows of the ORM to compare with"
    yield f"different {len(found.wrong):6} unexplained, {sum(found.explained.values())} explained"
    pages = sum(1 for line in found.wrong if any(verb.startswith("page") for verb in line["left"]))
    yield f"pages wrong {pages:4}"
    yield from _ranked("other statements", found.kinds)
    yield "\nverbs"
    for verb, outcomes in found.verbs.items():
        yield f"  {verb:14} " + ", ".join(f"{outcome} {number}" for outcome, number in outcomes.most_common())
    yield from _ranked("refused", found.refused)
    yield from _ranked("pages refused", found.pages_refused)
    yield from _ranked("beyond", found.beyond)
    yield from _ranked("explained", Counter({known.reason: number for known, number in found.explained.items()}))
    for line in found.wrong:
        yield from _difference(line)


def _of(number: int, found: Tally) -> str:
    return f"{number:6} ({number / (found.seen or 1):.1%})"


def _ranked(title: str, counts: Counter[str]) -> Iterator[str]:
    if counts:
        yield f"\n{title}"
    for reason, number in counts.most_common():
        yield f"  {number:6}  {reason}"


def _difference(line: dict[str, Any]) -> Iterator[str]:
    yield f"\nDIFFERENT {line['test']}: {', '.join(line['left'])}"
    yield f"  {line.get('sql', '')}"
    yield f"  {next(iter(line['left'].values()))}"
