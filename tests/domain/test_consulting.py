"""Rules are consulted by date, area and day of knowledge, and what was consulted is cited."""

from datetime import date
from typing import Any

import pytest

from ledger.domain.rules import Brackets, Limit, Rulebook, RulebookInvalid, RuleRefused, Rules, checked, packaged_tables
from ledger.domain.rules.book import BOOK


def book(**kinds: list[dict[str, Any]]) -> Rulebook:
    """The packaged rules with more rows, each from EA36 and of confidence B unless it says otherwise."""
    tables = packaged_tables()
    for kind, rows in kinds.items():
        tables.setdefault(kind, []).extend({"source": "EA36", "confidence": "B"} | row for row in rows)
    return checked(tables)


def limit(value: int, **row: Any) -> dict[str, Any]:
    return {"id": "x.limit", "unit": "fen", "value": value} | row


STEPS = [{"up_to_fen": 100, "rate": "0.10", "quick_deduction_fen": 0}, {"rate": "0.20", "quick_deduction_fen": 10}]
TWO_ROWS = [
    limit(1, valid_from=date(2018, 1, 1), valid_to=date(2024, 12, 31)),
    limit(2, valid_from=date(2025, 1, 1), known_from=date(2024, 9, 13), confidence="C", uncertain="the day is open"),
]
CITIES = [
    limit(1, valid_from=date(2018, 1, 1)),
    limit(2, valid_from=date(2020, 1, 1), area="CN-44"),
    limit(3, valid_from=date(2022, 1, 1), valid_to=date(2022, 12, 31), area="CN-4403"),
]


def test_before_the_first_row_the_rule_is_named_and_nothing_is_extrapolated() -> None:
    """Invariant 1."""
    asked = Rules(date(2017, 12, 31), book=book(limit=TWO_ROWS))
    with pytest.raises(RuleRefused) as refused:
        asked.limit("x.limit")
    assert (refused.value.rule, refused.value.reason) == ("x.limit", "rule_not_in_force")
    assert refused.value.detail == {"on": "2017-12-31", "area": "CN"}
    assert asked.find(Limit, "x.limit") is None
    assert asked.cited == ()


@pytest.mark.parametrize(
    ("area", "on", "value"),
    [
        ("CN-11", date(2022, 6, 1), 1),
        ("CN-44", date(2022, 6, 1), 2),
        ("CN-4401", date(2022, 6, 1), 2),
        ("CN-4403", date(2022, 6, 1), 3),
        ("CN-4403", date(2023, 1, 1), 2),
        ("CN-4403", date(2019, 1, 1), 1),
    ],
)
def test_the_nearest_area_with_a_row_in_force_answers(area: str, on: date, value: int) -> None:
    """Invariant 2: the city, then its province, then the country."""
    assert Rules(on, area, book=book(limit=CITIES)).limit("x.limit").value == value


@pytest.mark.parametrize(
    ("on", "known_on", "value"),
    [
        (date(2026, 1, 1), None, 2),
        (date(2026, 1, 1), date(2024, 9, 13), 2),
        (date(2026, 1, 1), date(2024, 9, 12), 1),
        (date(2024, 6, 1), date(2024, 9, 12), 1),
        (date(2024, 12, 31), date(2026, 1, 1), 1),
    ],
)
def test_what_was_learnt_later_does_not_count(on: date, known_on: date | None, value: int) -> None:
    """Invariant 3: before the new row was known, nobody knew either that the old one would end."""
    assert Rules(on, known_on=known_on, book=book(limit=TWO_ROWS)).limit("x.limit").value == value


@pytest.mark.parametrize("known_on", [date(2000, 1, 1), date(2016, 1, 1), date(2018, 1, 1), date(2024, 6, 1), None])
def test_every_rule_can_be_asked_as_it_was_known(known_on: date | None) -> None:
    """Invariant 3, for rows of every kind: what an earlier row says outlasts an end that was not known yet."""
    for (kind, rule_id, case, area), rows in BOOK.rulings.items():
        asked: Any = Rules(date(2026, 11, 22), area, known_on)
        found = asked.find(kind, rule_id, case)
        assert found is None or found.id == rows[0].id
    caps = Rules(date(2026, 11, 22), known_on=date(2018, 1, 31))
    assert caps.rate("ea.cap.employer").value * 12 == 1
    assert [each.valid_to for each in caps.cited] == [None]
    assert Rules(date(2026, 11, 22), known_on=date(2018, 2, 1)).rate("ea.cap.employer").value * 100 == 8


@pytest.mark.parametrize("area", ["Beijing", "cn-11", "CN-1", "CN-11\n", "", "CN-110101", "CN-１１"])
def test_what_is_no_area_is_wrong_usage_and_not_the_whole_country(area: str) -> None:
    with pytest.raises(ValueError, match="no area"):
        Rules(date(2026, 11, 22), area)


def test_the_personal_pension_tax_rule_was_learnt_after_it_began() -> None:
    """Announced 2022-11-03, valid from 2022-01-01 (PT34)."""
    with pytest.raises(RuleRefused):
        Rules(date(2022, 6, 1), known_on=date(2022, 11, 2)).rate("pp.tax.out")
    assert Rules(date(2022, 6, 1), known_on=date(2022, 11, 3)).rate("pp.tax.out").value * 100 == 3


def test_what_was_consulted_is_cited_once_in_order_with_what_is_open() -> None:
    """Invariant 4."""
    asked = Rules(date(2026, 1, 1), book=book(limit=TWO_ROWS))
    asked.limit("pp.cap.year")
    asked.at(date(2024, 1, 1)).limit("x.limit")
    asked.limit("x.limit")
    asked.limit("pp.cap.year")
    assert [(each.rule, each.confidence, each.uncertain) for each in asked.cited] == [
        ("pp.cap.year", "B", "No change of the cap from 2026 on is known."),
        ("x.limit", "B", None),
        ("x.limit", "C", "the day is open"),
    ]


def test_a_value_that_ended_is_carried_forward_only_on_request_and_says_so() -> None:
    """`latest` stands in for what is published later than it is needed."""
    ended = book(limit=[limit(7, valid_from=date(2025, 1, 1), valid_to=date(2025, 12, 31), area="CN-11")])
    asked = Rules(date(2026, 11, 22), "CN-11", book=ended)
    with pytest.raises(RuleRefused):
        asked.limit("x.limit")
    assert asked.latest(Limit, "x.limit").value == 7
    assert [each.carried_forward for each in asked.cited] == [True]
    with pytest.raises(RuleRefused):
        Rules(date(2024, 12, 31), "CN-11", book=ended).latest(Limit, "x.limit")


def test_rows_of_one_rule_join_or_say_why_not() -> None:
    """Invariant 3 of the rulebook: no gap without a reason."""
    late = TWO_ROWS[1] | {"valid_from": date(2025, 1, 2)}
    with pytest.raises(RulebookInvalid, match="gap"):
        book(limit=[TWO_ROWS[0], late])
    book(limit=[TWO_ROWS[0], late | {"gap": "nothing was published"}])


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([STEPS[1], STEPS[0]], "last bracket has a bound"),
        ([STEPS[0], {**STEPS[1], "quick_deduction_fen": 9}], "jumps"),
        ([STEPS[0], STEPS[0], STEPS[1]], "do not rise"),
        ([STEPS[1], STEPS[1]], "has no bound"),
    ],
)
def test_brackets_that_contradict_themselves_do_not_load(steps: list[dict[str, Any]], said: str) -> None:
    """Invariant 8 of the rulebook."""
    with pytest.raises(RulebookInvalid, match=said):
        book(brackets=[{"id": "x.tax", "unit": "fen_per_year", "valid_from": date(2019, 1, 1), "steps": steps}])


def test_an_amount_lies_in_the_bracket_whose_bound_it_reaches() -> None:
    """Upper bounds are inclusive (RULES.md section 8.1)."""
    found = Rules(
        date(2020, 1, 1),
        book=book(brackets=[{"id": "x.tax", "unit": "fen", "valid_from": date(2019, 1, 1), "steps": STEPS}]),
    ).row(Brackets, "x.tax")
    assert [found.step(fen) is found.steps[0] for fen in (0, 100, 101)] == [True, True, False]
