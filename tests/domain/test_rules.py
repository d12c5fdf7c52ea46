"""The rule data says what the law says, and data that contradicts itself does not load."""

from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction
from itertools import product as pairs
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain import rules
from ledger.domain.rules import PRODUCTS, RulebookInvalid, Rules

EA, OA, GP = "enterprise_annuity", "occupational_annuity", "group_pension"
RA, PP, CP = "retained_account", "personal_pension", "commercial_pension"
TODAY = date(2026, 11, 22)

Tables = dict[str, Any]


def conditions_open(product: str, code: str, on: date) -> list[rules.Condition]:
    return [row for row in rules.condition(product, code) if row.in_force(on)]


def lawful_moves(from_product: str, to_product: str, on: date = TODAY) -> list[rules.Move]:
    rows = rules.moves(from_product, to_product)
    return [row for row in rows if row.in_force(on) and row.lawful in {"yes", "cond"}]


class TestLimits:
    def test_personal_pension_cap(self) -> None:
        """12,000 yuan a person and calendar year from 2022-11-04 (PP70), no rule before."""
        assert rules.limit("pp.cap.year", date(2022, 11, 3)) is None
        first = rules.limit("pp.cap.year", date(2022, 11, 4))
        assert first is not None
        assert (first.value, first.source, first.confidence) == (1_200_000, "PP70", "B")
        assert rules.limit("pp.cap.year", TODAY) is first

    def test_bank_changes(self) -> None:
        """Two changes of bank a calendar year from 2024-12-15 (PP87)."""
        assert rules.limit("pp.bank.change.max", date(2024, 12, 14)) is None
        found = rules.limit("pp.bank.change.max", date(2024, 12, 15))
        assert found is not None
        assert found.value == 2

    @pytest.mark.parametrize(
        ("rule_id", "on", "share"),
        [
            ("ea.cap.employer", date(2018, 1, 31), Fraction(1, 12)),
            ("ea.cap.employer", date(2018, 2, 1), Fraction(8, 100)),
            ("ea.cap.total", date(2018, 1, 31), Fraction(1, 6)),
            ("ea.cap.total", date(2018, 2, 1), Fraction(12, 100)),
            ("oa.rate.employee", date(2014, 10, 1), Fraction(4, 100)),
        ],
    )
    def test_rates_are_exact(self, rule_id: str, on: date, share: Fraction) -> None:
        """1/12 and 1/6 until 2018-01-31; 8% and 12% by EA36 article 15; 4% by OA18."""
        found = rules.rate(rule_id, on)
        assert found is not None
        assert found.value == share

    def test_house_guards(self) -> None:
        """House guards hold on every date; a limit that is a date is its day ordinal."""
        earliest = rules.limit("ledger.effective.earliest", date(1900, 1, 1))
        ahead = rules.limit("ledger.effective.max_days_ahead", TODAY)
        sids = rules.limit("link.component.max_sids", TODAY)
        assert earliest is not None
        assert ahead is not None
        assert sids is not None
        assert date.fromordinal(earliest.value) == date(1991, 6, 26)
        assert (ahead.value, sids.value) == (31, 10)
        assert {earliest.source, ahead.source, sids.source} == {"house"}

    def test_unknown_rule(self) -> None:
        """A rule that no row names has no limit, rate or window."""
        assert rules.limit("no.such.rule", TODAY) is None
        assert rules.rate("no.such.rule", TODAY) is None
        assert rules.window("no.such.rule", TODAY) is None

    def test_windows(self) -> None:
        """The cap counts in calendar years (PP70); settlement follows it (IIT article 11)."""
        cap_year = rules.window("pp.cap.year", TODAY)
        settlement = rules.window("iit.settlement", TODAY)
        assert cap_year is not None
        assert settlement is not None
        assert cap_year.bounds(2026) == (date(2026, 1, 1), date(2026, 12, 31))
        assert settlement.bounds(2025) == (date(2026, 3, 1), date(2026, 6, 30))


class TestProducts:
    def test_structure(self) -> None:
        """Six products can be opened; only the personal pension is one per person (PP70)."""
        assert {code: product.pillar for code, product in PRODUCTS.items()} == {
            EA: 2, OA: 2, GP: 2, RA: 2, PP: 3, CP: 3,
        }  # fmt: skip
        assert [code for code, product in PRODUCTS.items() if product.one_per_person] == [PP]

    def test_unvested_and_book_money_is_not_payable(self) -> None:
        """Unvested money is not hers (EA36 article 19); book money is not there yet (OA18)."""
        closed = {
            (code, part.code) for code, product in PRODUCTS.items() for part in product.parts
            if not part.payout
        }  # fmt: skip
        assert closed == {
            (EA, "employer_unvested"), (GP, "employer_unvested"), (OA, "employer_book"),
        }  # fmt: skip

    def test_vesting_leads_into_payable_parts(self) -> None:
        """Each part that may not be drawn has exactly one way into a part that may."""
        for product in PRODUCTS.values():
            closed = [part.code for part in product.parts if not part.payout]
            assert [pair.from_part for pair in product.vesting] == closed
            assert {pair.to_part for pair in product.vesting} <= set(product.payout_order)
        assert [pair.kind for pair in PRODUCTS[OA].vesting] == ["fund_book_entry"]
        assert [pair.kind for pair in PRODUCTS[EA].vesting] == ["vesting"]

    def test_nobody_contributes_to_a_retained_account(self) -> None:
        """A retained account takes only the vested part of an old plan (EA36 articles 22, 23)."""
        assert not PRODUCTS[RA].contribution_parts
        assert PRODUCTS[RA].part_codes == {"employee", "employer_vested"}
        assert all(PRODUCTS[code].contribution_parts for code in PRODUCTS if code != RA)


class TestMoves:
    def test_lawful_pairs_of_openable_products(self) -> None:
        """Exactly these pairs can be lawful; any other has a refusing row or none (section 7)."""
        openable = set(pairs(PRODUCTS, PRODUCTS))
        assert {pair for pair in openable if lawful_moves(*pair)} == {
            (EA, EA), (EA, OA), (EA, RA), (OA, OA), (OA, EA), (RA, EA), (RA, OA),
            (PP, PP), (CP, CP),
        }  # fmt: skip
        assert {pair for pair in openable if not rules.moves(*pair)} == {
            (EA, GP), (EA, CP), (OA, RA), (OA, GP), (OA, CP), (GP, GP), (GP, CP), (RA, RA),
            (RA, GP), (RA, CP), (PP, GP), (CP, GP), (CP, RA),
        }  # fmt: skip

    @pytest.mark.parametrize("annuity", [EA, OA, RA])
    def test_annuity_never_moves_into_personal_pension(self, annuity: str) -> None:
        """EA36 articles 24, 25 and OA18 article 9: only a taxed payout, then a new contribution."""
        assert [move.lawful for move in rules.moves(annuity, PP)] == ["no_cash"]
        assert [move.lawful for move in rules.moves(PP, annuity)] == ["no"]
        assert not rules.moves(annuity, PP)[0].part_map(annuity, PP)

    def test_only_vested_money_leaves_an_employer(self) -> None:
        """EA36 article 22: no move takes the unvested part along, and none fills one."""
        for pair in pairs(PRODUCTS, PRODUCTS):
            for move in rules.moves(*pair):
                assert "employer_unvested" not in {
                    *move.part_map(*pair),
                    *move.part_map(*pair).values(),
                }

    def test_part_maps(self) -> None:
        """The employer's part changes its name with the product."""
        (to_oa,), (back,), (kept,) = (
            rules.moves(EA, OA),
            rules.moves(OA, EA),
            rules.moves(RA, OA),
        )
        assert to_oa.part_map(EA, OA) == {
            "employee": "employee",
            "employer_vested": "employer_real",
        }
        assert back.part_map(OA, EA) == {"employee": "employee", "employer_real": "employer_vested"}
        assert kept.part_map(RA, OA) == to_oa.part_map(EA, OA)
        assert not kept.part_map(OA, RA)

    def test_book_entries_move_only_between_fully_financed_units(self) -> None:
        """OA18 article 8: otherwise the book part is funded first."""
        with_book = [move for move in rules.moves(OA, OA) if "employer_book" in move.part_map(OA, OA)]
        assert [move.reasons for move in with_book] == [{"job_change_same_level_fully_financed"}]

    def test_reason_selects_one_move(self) -> None:
        """A plan's end leads to a retained account, not to another plan (EA36 articles 22, 23)."""
        assert any("plan_end" in move.reasons for move in rules.moves(EA, RA))
        assert not any("plan_end" in move.reasons for move in rules.moves(EA, EA))

    def test_first_day(self) -> None:
        """No move before its rule."""
        assert not lawful_moves(PP, PP, date(2022, 11, 3))
        assert lawful_moves(PP, PP, date(2022, 11, 4))

    def test_kinds_that_cannot_be_opened(self) -> None:
        """The first pillar moves nowhere (SIL article 14); a 2018 policy merges into PP (TD4)."""
        assert all(rules.moves("first_pillar", code)[0].lawful == "no" for code in PRODUCTS)
        assert rules.moves("tax_deferred_policy", PP)[0].reasons == {"industry_platform"}
        assert rules.moves(PP, "person")[0].tax_event == "pp.tax.out"


class TestConditions:
    @pytest.mark.parametrize("code", ["PP_W4_MEDICAL", "PP_W5_UNEMPLOYED", "PP_W6_DIBAO"])
    def test_hardship_from_2025_09_01(self, code: str) -> None:
        """Announced 2024-12-12, usable 2025-09-01 (PP25)."""
        assert not conditions_open(PP, code, date(2025, 8, 31))
        (row,) = conditions_open(PP, code, date(2025, 9, 1))
        assert row.known_from == date(2024, 12, 12)
        assert not row.closes_contributions

    def test_no_hardship_for_annuities(self) -> None:
        """EA36 article 25: nothing but article 24 opens an enterprise annuity."""
        for product in (EA, RA, OA):
            assert not rules.condition(product, "PP_W4_MEDICAL")

    def test_only_age_closes_contributions(self) -> None:
        """From 2025-09-01 (PP25): not after W1; after W2 to W6 the person may contribute again."""
        codes = [
            "PP_W1_AGE",
            "PP_W2_DISABLED",
            "PP_W3_EMIGRATED",
            "PP_W4_MEDICAL",
            "PP_W5_UNEMPLOYED",
            "PP_W6_DIBAO",
        ]
        closing = [code for code in codes if conditions_open(PP, code, TODAY)[0].closes_contributions]
        assert closing == ["PP_W1_AGE"]
        assert not conditions_open(PP, "PP_W1_AGE", date(2025, 8, 31))[0].closes_contributions

    def test_parts(self) -> None:
        """A condition opens all that is payable, or its own parts: locked money at 60 (CP22)."""
        assert rules.condition(EA, "EA_DISABLED")[0].parts == {"employee", "employer_vested"}
        assert rules.condition(RA, "EA_DEATH")[0].products == (RA,)
        assert rules.condition(OA, "OA_RETIRED")[0].parts == {"employee", "employer_real"}
        assert rules.condition(CP, "CP_CONTINUING_PRODUCT_RULES")[0].parts == {"continuing"}
        assert rules.condition(CP, "CP_LOCKED_AGE_60")[0].parts == {"locked", "continuing"}

    def test_every_product_can_be_paid_out(self) -> None:
        """Each product has a condition, and the matrix lets its money go to the person for it."""
        book = rules.checked(rules.packaged_tables())
        for product in PRODUCTS:
            named = {code for owner, code in book.conditions if owner == product}
            assert named
            assert named <= {code for move in rules.moves(product, "person") for code in move.reasons}


def test_documents() -> None:
    """A source key leads to its document."""
    assert rules.document("PP87").valid_from == date(2024, 12, 15)
    assert rules.document("GP134").number is not None
    assert rules.document("PP25").number is None
    with pytest.raises(KeyError):
        rules.document("PP88")


def test_day_not_confirmed() -> None:
    """A year alone is stored as its first day, and says so."""
    assert PRODUCTS[GP].valid_from == date(2015, 1, 1)
    assert not PRODUCTS[GP].day_confirmed
    assert PRODUCTS[PP].day_confirmed


def row_of(tables: Tables, table: str, name: str) -> dict[str, Any]:
    """The first row of a table with this id, code or key."""
    rows: list[dict[str, Any]] = tables[table]
    return next(row for row in rows if name in {row.get("id"), row.get("code"), row.get("key")})


Edit = Callable[[Tables], None]


def edited(table: str, name: str, **changes: object) -> Edit:
    return lambda tables: row_of(tables, table, name).update(changes)


def without(table: str, name: str, key: str) -> Edit:
    return lambda tables: row_of(tables, table, name).__delitem__(key)


def repeated(table: str, name: str, **changes: object) -> Edit:
    """The row a second time, with changes."""
    return lambda tables: tables[table].append(row_of(tables, table, name) | changes)


def nested(table: str, name: str, key: str, **changes: object) -> Edit:
    """Change the first entry of a list inside a row."""
    return lambda tables: row_of(tables, table, name)[key][0].update(changes)


SHAPE: dict[str, Edit] = {
    "unknown key": edited("limit", "pp.cap.year", remark="x"),
    "unknown key of a part": nested("product", "pk.pp", "parts", colour="x"),
    "unknown table": lambda tables: tables.update(bonus=[]),
    "missing table": lambda tables: tables.__delitem__("move"),
    "missing key": without("move", "mv.ea.ea", "lawful"),
    "amount as text": edited("limit", "pp.cap.year", value="1200000"),
    "amount as float": edited("limit", "pp.cap.year", value=1_200_000.5),
    "amount as truth": edited("limit", "pp.cap.year", value=True),
    "rate as float": edited("rate", "ea.cit", value=0.05),
    "rate above one": edited("rate", "ea.cit", value="5"),
    "rate that is no number": edited("rate", "ea.cit", value="5%"),
    "rate divided by nothing": edited("rate", "ea.cit", value="1/0"),
    "confidence D": edited("limit", "pp.cap.year", confidence="D"),
    "lawful maybe": edited("move", "mv.ea.ea", lawful="maybe"),
    "day that does not exist": edited("move", "mv.ea.ea", valid_from="2018-02-30"),
    "product without parts": edited("product", "pk.pp", parts=[]),
    "window of a day that no year has": edited("window", "pp.cap.year", last=[2, 30]),
}

FREE_MOVE = {"lawful": "no", "reasons": [], "parts": []}

MEANING: dict[str, Edit] = {
    "overlapping limits": repeated("limit", "pp.cap.year", valid_from=date(2026, 1, 1)),
    "rates that share a day": edited("rate", "ea.cap.employer", valid_to=date(2018, 2, 1)),
    "conditions that share a day": edited("condition", "PP_W1_AGE", valid_to=date(2025, 9, 1)),
    "overlapping moves": repeated("move", "mv.ea.ea"),
    "two moves for one reason": repeated("move", "mv.ea.ea", id="mv.ea.again"),
    "lawful and not": repeated("move", "mv.ea.ea", id="mv.ea.not", **FREE_MOVE),
    "end before start": edited("limit", "pp.cap.year", valid_to=date(2022, 11, 3)),
    "unknown source": edited("limit", "pp.cap.year", source="PP71"),
    "unknown second source": edited("move", "mv.cp.cash", source="CP22, ECP8"),
    "document twice": repeated("document", "PP70"),
    "product twice": repeated("product", "pk.pp"),
    "limit that is also a rate": repeated("limit", "pp.cap.year", id="ea.cit"),
    "place that is a product": repeated("place", "person", code=PP),
    "unknown place": edited("move", "mv.ea.ea", to_products=["enterprise_anuity"]),
    "unknown reason": edited("move", "mv.ea.ea", reasons=["job_chance"]),
    "condition of another product": edited("move", "mv.ea.cash", reasons=["PP_W4_MEDICAL"]),
    "lawful without reason": edited("move", "mv.ea.ea", reasons=[]),
    "lawful without parts": edited("move", "mv.ea.ea", parts=[]),
    "not lawful with parts": edited("move", "mv.ea.ea", lawful="no", reasons=[]),
    "unknown old part": nested("move", "mv.pp.pp", "parts", map={"mine": "own"}),
    "unknown new part": nested("move", "mv.pp.pp", "parts", map={"own": "mine"}),
    "unknown contribution part": edited("product", "pk.pp", contribution_parts=["mine"]),
    "unknown vesting part": nested("product", "pk.ea", "vesting", to_part="mine"),
    "payable part not in order": edited("product", "pk.cp", payout_order=["locked"]),
    "book part in order": edited("product", "pk.oa", payout_order=["employer_book"]),
    "condition opens a book part": edited("condition", "OA_RETIRED", parts=["employer_book"]),
    "condition of unknown product": edited("condition", "OA_RETIRED", products=["person"]),
}


@pytest.mark.parametrize("edit", SHAPE.values(), ids=SHAPE.keys())
def test_misshapen_row_is_refused(edit: Edit) -> None:
    """Invariant 1: unknown keys, missing keys and values of another type are refused."""
    tables = rules.packaged_tables()
    edit(tables)
    with pytest.raises(ValidationError):
        rules.checked(tables)


@pytest.mark.parametrize("edit", MEANING.values(), ids=MEANING.keys())
def test_contradicting_row_is_refused(edit: Edit) -> None:
    """Invariants 2 and 4 to 8: dates, sources and names fit together."""
    tables = rules.packaged_tables()
    edit(tables)
    with pytest.raises(RulebookInvalid):
        rules.checked(tables)


def test_a_rule_of_2027_is_a_change_of_data() -> None:
    """A changed rule is an edit of data: end the old row, add the new one; nothing else."""
    tables = rules.packaged_tables()
    end = date(2026, 12, 31)
    row_of(tables, "limit", "pp.cap.year").update(valid_to=end)
    first_day = end + timedelta(days=1)
    repeated("limit", "pp.cap.year", valid_from=first_day, valid_to=None, value=1_500_000)(tables)
    book = rules.checked(tables)
    assert Rules(end, book=book).limit("pp.cap.year").value == 1_200_000
    assert Rules(first_day, book=book).limit("pp.cap.year").value == 1_500_000


def test_every_row_has_a_known_source() -> None:
    """Invariant 4, read from the files and not through the loader."""
    tables = rules.packaged_tables()
    keys = {row["key"] for row in tables["document"]}
    for rows in (rows for kind, rows in tables.items() if kind not in {"document", "place", "reason"}):
        for row in rows:
            assert set(row["source"].split(", ")) <= keys
            assert row["confidence"] in set("ABC")
