"""The differences that are right as they are, each with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["EXPLAINED", "Explained"]


@dataclass(frozen=True)
class Explained:
    """A difference with a reason.

    Attributes:
        test: A pattern that is found in the name of the test.
        reason: Why it is right.
        why: A pattern that is found in what was told of the difference.
        verb: A pattern that matches the verbs it is about.
    """

    test: str
    reason: str
    why: str = ""
    verb: str = ""

    def fits(self, test: str, verb: str, why: str) -> bool:
        """Say whether a difference is this one."""
        return bool(re.search(self.test, test) and re.search(self.why, why) and re.match(self.verb, verb))


EXPLAINED: tuple[Explained, ...] = ()
