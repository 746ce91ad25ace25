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


_IDENTITY = "one object for one identity: the ORM keeps what it read first, fetch shows each row as it is"
_LISTENER = "a listener of the test changes what is loaded"

EXPLAINED: tuple[Explained, ...] = (
    # A join mapped with a primary key that its rows do not have alone.
    Explained(r"MapperTest::test_mapping_to_join_(exclude|explicit)_prop", _IDENTITY),
    # An alias of a subquery that computes another name, and the user of its orders.
    Explained("AliasOfAliasedSelectableTest::test_adapt_on_names", _IDENTITY),
    Explained("RefreshTest::test_changes_reset", _LISTENER, why="new name!"),
    Explained(
        "ExecutionOptionsTest::test_execution_options_to_load_options",
        "the test has put a mock where the ORM makes objects of rows",
        why="^0 rows of the ORM",
    ),
    Explained(
        "ORMExecuteTest::test_mutate_parameters_selectinload",
        "the value of a parameter in a primaryjoin is given by a listener; without, the ORM takes NULL and fetch asks",
        why="A value is required for bind parameter 'b_status'",
    ),
    Explained(
        r"ConcreteTest::test_multi_level_(no|with)_base",
        "the discriminator of a concrete subclass's own union is a column of its rows, but no attribute of its objects",
        why=r"\.type\n  Field required",
    ),
)
