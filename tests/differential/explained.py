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
        "DeferredTest::test_basic_w_new_style",
        "the class says bool of a column that the table has as an integer, which PostgreSQL writes as a number",
        verb="json|levels",
    ),
    # A subclass mapped to a join of its table with all of its rows.
    Explained("InheritingSelectablesTest::test_load", _IDENTITY),
    Explained(
        "ExecutionOptionsTest::test_execution_options_to_load_options",
        "the test has put a mock where the ORM makes objects of rows",
        why="^0 rows of the ORM|rows 0$",
    ),
    Explained(
        "MapperTest::test_mapping_to_outerjoin_no_partial_pks",
        "of a key that is partly NULL the ORM makes None, which no model takes",
        verb="invalid",
    ),
    Explained(
        "MergeTest::test_detached_to_persistent_collection",
        "a collection without order_by has the order in which the rows were written last",
        why="^1 rows of the ORM, 1 fetched",
    ),
    Explained(
        "UselistFalseMultipleRowsTest::test_multiple_rows_uselist_false_warns",
        "the test makes an error of the warning that there are more rows",
        verb="invalid",
    ),
    Explained(
        "ORMExecuteTest::test_mutate_parameters_selectinload",
        "the value of a parameter in a primaryjoin is given by a listener; without, the ORM takes NULL and fetch asks",
        why="A value is required for bind parameter 'b_status'",
    ),
    Explained(
        r"ConcreteTest::test_multi_level_(no|with)_base|ConcreteInhTest::test_concrete_extension",
        "the discriminator of a concrete subclass's own union is a column of its rows, but no attribute of its objects",
        why=r"\.type\n  Field required",
    ),
)
