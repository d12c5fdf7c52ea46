"""Every refusal is given for its own reason, the earlier one in the documented order wins, and codes never change."""

from itertools import combinations

import pytest

from ledger import application
from ledger.domain.catalogue import MATTERS
from ledger.domain.closing import REFUSED_OF_ALL
from ledger.domain.commands import COMMANDS
from ledger.domain.events import Fact
from ledger.domain.refusals import REFUSALS, CommandIdReused, PosterNotPermitted, Refusal
from tests.domain import scenario
from tests.domain.refusal_cases import CASES, Broken, Case, changed
from tests.domain.scenario import given

# A code that was ever given stays here for ever, because senders and stored rows know it.
CODES_EVER_GIVEN = [
    "AccountDuplicate",
    "AccountExists",
    "AccountIsClosed",
    "AccountIsFrozen",
    "AccountNotFrozen",
    "AccountReplaced",
    "AccountUnknown",
    "AdjustmentNotApproved",
    "AdjustmentNotDue",
    "AdjustmentPeriodWrong",
    "AmountNotPositive",
    "AmountTooLarge",
    "ApproverMissing",
    "BalanceInsufficient",
    "BalanceNotZero",
    "CannotLinkActive",
    "CheckpointTooEarly",
    "CheckpointUnknown",
    "CommandIdReused",
    "ComponentChanged",
    "ComponentTooLarge",
    "ConditionNotInForce",
    "ConditionUnknown",
    "ContributionsEnded",
    "DistinctNotDeclared",
    "EffectiveBeforeOpening",
    "EffectiveDateAbsurd",
    "EntryAlreadyReversed",
    "EntryNotFound",
    "EntryNotReversible",
    "GrossNotTaxPlusNet",
    "IdentitiesAreLinked",
    "IdentityRegisteredDifferently",
    "IdentityUnknown",
    "LinkToSelf",
    "LinksNotConnected",
    "MoveNotLawful",
    "PartNotConnected",
    "PartUnknown",
    "PartitionIncomplete",
    "PeriodAlreadyClosed",
    "PeriodIsClosed",
    "PeriodNotOver",
    "PersonHoldsProduct",
    "PersonsDiffer",
    "PosterNotPermitted",
    "ProductUnknown",
    "ProfileCodeUnknown",
    "ProfileDatedLater",
    "ProfileNotDeclared",
    "ReplacedAccountWrong",
    "ReplacementsExhausted",
    "ReversalWouldOverdraw",
    "RuleNotInForce",
    "SameAccount",
    "VestingNotKnown",
    "YearlyCapExceeded",
    "YearlyPaymentsExhausted",
]

SINGLE = [(case, broken) for case in CASES for broken in case.broken]
PAIRS = [
    (case, first, second)
    for case in CASES
    for first, second in combinations(case.broken, 2)
    if frozenset({first.refusal, second.refusal}) not in case.apart
]


def name_of(value: object) -> str:
    return type(value.command).__name__ if isinstance(value, Case) else getattr(value, "refusal", Refusal).__name__


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_acceptable_case_is_accepted(case: Case) -> None:
    """Each refusal below has one cause, because without it the command is accepted."""
    outcome = given(*case.past).when(case.command)
    assert isinstance(outcome.decision, list)
    assert outcome.decision


@pytest.mark.parametrize(("case", "broken"), SINGLE, ids=name_of)
def test_broken_rule_is_refused(case: Case, broken: Broken) -> None:
    given(*case.past, *broken.past).when(changed(case.command, broken.fields)).refused(broken.refusal)


@pytest.mark.parametrize(("case", "first", "second"), PAIRS, ids=name_of)
def test_earlier_refusal_wins(case: Case, first: Broken, second: Broken) -> None:
    """Of two rules broken at once, the one that `refuses` lists first answers."""
    # Facts come last: a command might be refused after them.
    after = sorted((*second.past, *first.past), key=lambda step: isinstance(step, Fact))
    given(*case.past, *after).when(changed(case.command, second.fields, first.fields)).refused(first.refusal)


def test_every_command_and_refusal_has_its_case() -> None:
    """The cases are exactly the catalogue: every command, and its refusals in their documented order."""
    assert {type(case.command): tuple(broken.refusal for broken in case.broken) for case in CASES} == {
        command: matter.refuses for command, matter in MATTERS.items()
    }
    assert set(MATTERS) == set(COMMANDS.values())


def test_every_refusal_belongs_to_a_matter() -> None:
    """Outside them: CommandIdReused by the journal of commands, PosterNotPermitted by who may post what, closed books."""
    given_by_matters = {refusal for matter in MATTERS.values() for refusal in matter.refuses}
    assert set(REFUSALS.values()) - given_by_matters == {
        CommandIdReused,
        PosterNotPermitted,
        *REFUSED_OF_ALL,
    }


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_has_a_sentence(refusal: type[Refusal]) -> None:
    assert refusal.sentence.endswith(".")
    assert "\n" not in refusal.sentence
    assert refusal().as_dict() == {"code": refusal.__name__, "sentence": refusal.sentence, "detail": {}}


def test_codes_are_stable() -> None:
    assert sorted(REFUSALS) == CODES_EVER_GIVEN


def test_refusals_compare_by_code_and_detail() -> None:
    assert CommandIdReused() == CommandIdReused()
    assert CommandIdReused() != CommandIdReused(detail=1)
    assert len({CommandIdReused(a=[1]), CommandIdReused(a=[1])}) == 1
    assert repr(CommandIdReused(account="EA-1")) == "CommandIdReused(account='EA-1')"


def test_scenarios_recall_as_the_ledger_does() -> None:
    """A `needs` may take no more rounds here than `Ledger.post` allows it."""
    assert scenario.MAX_RECALL_ROUNDS == application.MAX_RECALL_ROUNDS
