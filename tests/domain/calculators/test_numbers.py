"""Numbers of people and organisations: the published samples, every wrong digit found, and nothing kept of them."""

import random
import re
from datetime import date, timedelta

import msgspec
import pytest

from ledger.domain import identifiers
from ledger.domain.calculators.numbers import (
    CHECKS,
    Kind,
    foreign_pr,
    organisation_code,
    read_number,
    residence_permit_hmt,
    resident_id,
    resident_id_old,
    upgraded,
    uscc,
)
from ledger.domain.rules import RuleRefused, Rules
from tests.domain.calculators.yuan import TODAY, cited_rules, today
from tests.scale import scaled

# Printed in GB 11643, GB 32100 and GB 11714 as samples; of nobody.
RESIDENT, PERMIT, USCC, ORGANISATION = "11010519491231002X", "810000199408230021", "91350100M000100Y43", "M000100Y4"
OLD = "110105491231002"
# A county that no list of areas has: such a number belongs to nobody.
NOWHERE = "119999"


def checked(digits: str) -> str:
    """The number with its check, computed apart from the code under test: the sum of all 18 by powers of two is 1 mod 11."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits))
    check = (1 - total) % 11
    return digits + ("X" if check == 10 else str(check))


def refused_as(number: str, kind: Kind, on: date = TODAY) -> tuple[str, str]:
    """The rule that refuses a number of a kind, and what is wrong or which reason."""
    with pytest.raises(RuleRefused) as refused:
        CHECKS[kind](number, Rules(on))
    return refused.value.rule, str(refused.value.detail.get("wrong", refused.value.reason))


class TestResidentId:
    def test_the_published_sample(self) -> None:
        """RULES.md section 11: valid; and what it says."""
        found = resident_id(RESIDENT, today())
        assert (found.kind, found.birth_date, found.sex) == ("resident_id", date(1949, 12, 31), "female")
        assert (found.area, found.area_name) == ("11", "Beijing")
        assert found.proves == {"birth_date", "sex", "province", "check_digit"}
        assert resident_id(RESIDENT.lower(), today()) == found

    def test_an_odd_order_is_a_man(self) -> None:
        assert resident_id(checked(NOWHERE + "19900307" + "011"), today()).sex == "male"
        assert resident_id(checked(NOWHERE + "19900307" + "012"), today()).sex == "female"

    @pytest.mark.parametrize(
        ("number", "wrong"),
        [
            ("110105194912310021", "check_digit"),
            (checked(NOWHERE + "19900230" + "001"), "birth_date"),
            (checked(NOWHERE + "17991231" + "001"), "birth_date"),
            (checked(NOWHERE + "20261123" + "001"), "birth_date"),
            (checked("991105" + "19900307" + "001"), "area"),
            (RESIDENT[:-1], "shape"),
            (RESIDENT + "0", "shape"),
            (" " + RESIDENT, "shape"),
            (RESIDENT + "\n", "shape"),
            ("\uff11" + RESIDENT[1:], "shape"),
            ("\u0661" + RESIDENT[1:], "shape"),
            ("0" + RESIDENT[1:], "shape"),
            ("", "shape"),
        ],
    )
    def test_what_is_wrong_is_named(self, number: str, wrong: str) -> None:
        """Invariant 2."""
        assert refused_as(number, "resident_id") == ("id.resident_id", wrong)

    def test_every_wrong_digit_and_every_exchange_of_neighbours_is_found(self) -> None:
        """The trap of RULES.md section 13: a pattern alone would take most of them."""
        for place in range(17):
            for digit in "0123456789":
                if digit != RESIDENT[place]:
                    assert refused_as(RESIDENT[:place] + digit + RESIDENT[place + 1 :], "resident_id")
        for place in range(16):
            swapped = RESIDENT[:place] + RESIDENT[place + 1] + RESIDENT[place] + RESIDENT[place + 2 :]
            assert swapped == RESIDENT or refused_as(swapped, "resident_id")

    def test_random_numbers_with_a_computed_check_are_read(self) -> None:
        """Both roads to the check digit agree; so does the guard of identifiers."""
        chance = random.Random(6)  # noqa: S311 - no secret
        for _ in range(scaled(5_000)):
            born = date(1900, 1, 1) + timedelta(days=chance.randrange(46_000))
            order = chance.randrange(1, 1000)
            number = checked(f"{NOWHERE}{born:%Y%m%d}{order:03d}")
            found = resident_id(number, today())
            assert (found.birth_date, found.sex == "male") == (born, order % 2 == 1)
            assert identifiers.is_resident_id(number)

    def test_before_the_standard_there_was_none(self) -> None:
        assert refused_as(RESIDENT, "resident_id", date(1999, 6, 30)) == ("id.resident_id", "rule_not_in_force")


class TestOldResidentId:
    def test_it_proves_nothing(self) -> None:
        """Invariant 1: without a check digit it only says so."""
        found = resident_id_old(OLD, today())
        assert (found.birth_date, found.sex, found.area_name) == (date(1949, 12, 31), "female", "Beijing")
        assert (found.proven, found.proves) == (False, frozenset())

    def test_the_number_of_today_derives_from_it(self) -> None:
        """The published sample is the upgrade of its own old digits."""
        assert upgraded(OLD, today()) == RESIDENT
        assert resident_id(upgraded(OLD, today()), today()).proven

    @pytest.mark.parametrize(
        ("number", "wrong"),
        [
            ("990105491231002", "area"),
            ("110105490230002", "birth_date"),
            (OLD[:-1], "shape"),
            (OLD + "0", "shape"),
            (OLD[:-1] + "X", "shape"),
        ],
    )
    def test_what_is_wrong_is_named(self, number: str, wrong: str) -> None:
        assert refused_as(number, "resident_id_old") == ("id.resident_id.old", wrong)

    def test_the_century_of_the_oldest_is_open(self) -> None:
        """Order numbers from 996 were kept for people born before 1900."""
        oldest = "110105" + "980101" + "997"
        assert resident_id_old(oldest, today()).birth_date is None
        with pytest.raises(RuleRefused, match=r"id\.resident_id\.old"):
            upgraded(oldest, today())

    def test_that_it_is_uncertain_is_cited(self) -> None:
        rules = today()
        resident_id_old(OLD, rules)
        assert [each.uncertain is not None for each in rules.cited if each.rule == "id.resident_id.old"] == [True]


class TestResidencePermit:
    def test_the_published_sample(self) -> None:
        """RULES.md section 11."""
        found = residence_permit_hmt(PERMIT, today())
        assert (found.birth_date, found.sex, found.area_name) == (date(1994, 8, 23), "female", "Hong Kong")
        assert found.proven

    @pytest.mark.parametrize(("prefix", "name"), [("820000", "Macau"), ("830000", "Taiwan")])
    def test_the_other_prefixes(self, prefix: str, name: str) -> None:
        assert residence_permit_hmt(checked(prefix + "19940823" + "002"), today()).area_name == name

    def test_it_is_no_resident_id_and_the_other_way_round(self) -> None:
        assert refused_as(PERMIT, "resident_id") == ("id.resident_id", "area")
        assert refused_as(RESIDENT, "residence_permit_hmt") == ("id.residence_permit_hmt", "area")

    def test_its_check_digit_counts(self) -> None:
        assert refused_as(PERMIT[:-1] + "2", "residence_permit_hmt") == ("id.residence_permit_hmt", "check_digit")
        assert refused_as("81000019940230002" + "0", "residence_permit_hmt")[1] == "birth_date"
        assert refused_as(PERMIT[:-1], "residence_permit_hmt")[1] == "shape"

    def test_before_its_first_day_it_is_refused(self) -> None:
        assert refused_as(PERMIT, "residence_permit_hmt", date(2018, 8, 31))[1] == "rule_not_in_force"
        assert residence_permit_hmt(PERMIT, Rules(date(2018, 9, 1))).proven


class TestForeignPermanentResidence:
    # Province 31, country 840 of ISO 3166, of no card that was issued: the order is 000.
    CARD = checked("9" + "31" + "840" + "19800615" + "000")

    def test_of_both_ages(self) -> None:
        """Until 2023-11-30 three letters and twelve digits, from 2023-12-01 18 digits; the day of issue decides."""
        last, first = Rules(date(2023, 11, 30)), Rules(date(2023, 12, 1))
        assert foreign_pr("ABC000000000000", last).proves == frozenset()
        found = foreign_pr(self.CARD, first)
        assert (found.birth_date, found.area_name, found.country) == (date(1980, 6, 15), "Shanghai", "840")
        assert found.proves == {"birth_date", "province", "country", "check_digit"}
        assert refused_as("ABC000000000000", "foreign_pr", date(2023, 12, 1)) == ("id.foreign_pr", "shape")
        assert refused_as(self.CARD, "foreign_pr", date(2023, 11, 30)) == ("id.foreign_pr", "shape")

    def test_what_is_wrong_is_named(self) -> None:
        wrong_check = self.CARD[:-1] + ("0" if self.CARD[-1] != "0" else "1")
        assert refused_as(wrong_check, "foreign_pr") == ("id.foreign_pr", "check_digit")
        assert refused_as(checked("9" + "99" + "840" + "19800615" + "000"), "foreign_pr")[1] == "area"
        assert refused_as(checked("9" + "31" + "840" + "19801315" + "000"), "foreign_pr")[1] == "birth_date"

    def test_the_inner_layout_is_marked_as_uncertain(self) -> None:
        rules = today()
        foreign_pr(self.CARD, rules)
        assert {each.rule for each in rules.cited if each.uncertain} == {"id.foreign_pr.layout", "id.area"}


class TestShapesAlone:
    @pytest.mark.parametrize(
        ("kind", "number"),
        [
            ("hm_permit", "H00000000"),
            ("hm_permit", "M0000000001"),
            ("tw_permit", "00000000"),
            ("tw_permit", "0000000000A"),
            ("passport_chinese", "E00000000"),
            ("passport_chinese", "G00000000"),
            ("passport_chinese", "EA0000000"),
            ("passport_foreign", "AB000"),
            ("passport_foreign", "A" * 17),
        ],
    )
    def test_a_shape_proves_nothing(self, kind: Kind, number: str) -> None:
        """RULES.md section 13: a check by pattern only is no check. All these rows are of confidence C."""
        rules = today()
        found = CHECKS[kind](number, rules)
        assert (found.kind, found.proven, found.proves) == (kind, False, frozenset())
        assert [(each.confidence, each.uncertain is not None) for each in rules.cited] == [("C", True)]

    @pytest.mark.parametrize(
        ("kind", "number"),
        [
            ("hm_permit", "H0000000"),
            ("hm_permit", "h00000000"),
            ("hm_permit", "H000000000"),
            ("tw_permit", "000000000"),
            ("tw_permit", "00000000A"),
            ("passport_chinese", "E0000000"),
            ("passport_chinese", "D00000000"),
            ("passport_chinese", "GA0000000"),
            ("passport_foreign", "A000"),
            ("passport_foreign", "A" * 18),
            ("passport_foreign", "A-0000"),
        ],
    )
    def test_another_shape_is_refused(self, kind: Kind, number: str) -> None:
        rule = {"passport_chinese": "id.passport", "passport_foreign": "id.passport"}.get(kind, f"id.{kind}")
        assert refused_as(number, kind) == (rule, "shape")


class TestOrganisations:
    def test_the_published_samples(self) -> None:
        """RULES.md section 11: the code inside gives 4."""
        assert uscc(USCC, today()).proves == {"check_digit", "organisation_code"}
        assert organisation_code(ORGANISATION, today()).proven
        assert organisation_code("M000100Y-4", today()).proven
        assert USCC[8:17] == ORGANISATION

    def test_every_wrong_character_is_found(self) -> None:
        """The modulus 31 is a prime and as large as the alphabet."""
        alphabet = Rules(TODAY).terms("id.uscc").text("alphabet")
        for place in range(18):
            for character in alphabet:
                if character != USCC[place]:
                    changed = USCC[:place] + character + USCC[place + 1 :]
                    assert refused_as(changed, "uscc") == ("id.uscc", "check_digit")

    def test_the_last_character_may_be_any_of_the_alphabet(self) -> None:
        """RULES.md section 13: not only a digit or X."""
        alphabet = Rules(TODAY).terms("id.uscc").text("alphabet")
        lasts = set()
        for number in range(500):
            body = f"91{number:06d}{ORGANISATION}"
            total = sum(alphabet.index(each) * 3**place for place, each in enumerate(body))
            last = next(each for each in alphabet if (total + alphabet.index(each)) % 31 == 0)
            assert uscc(body + last, today()).proven
            lasts.add(last)
        assert lasts == set(alphabet)

    @pytest.mark.parametrize(
        "number", [USCC.lower(), USCC[:-1], USCC + "0", USCC.replace("Y", "I"), USCC.replace("M", "O")]
    )
    def test_letters_outside_the_alphabet_and_other_lengths(self, number: str) -> None:
        assert refused_as(number, "uscc") == ("id.uscc", "shape")

    def test_the_organisation_code_inside_counts(self) -> None:
        """A code whose own check fits, around an organisation code that does not."""
        alphabet = Rules(TODAY).terms("id.uscc").text("alphabet")
        body = "91350100" + "M000100Y5"
        total = sum(alphabet.index(each) * 3**place for place, each in enumerate(body))
        number = body + next(each for each in alphabet if (total + alphabet.index(each)) % 31 == 0)
        assert refused_as(number, "uscc") == ("id.uscc", "organisation_code")

    @pytest.mark.parametrize(("body", "check"), [("00000000", "0"), ("00000006", "X"), ("M000100Y", "4")])
    def test_ten_is_x_and_eleven_is_nought(self, body: str, check: str) -> None:
        assert organisation_code(body + check, today()).proven
        others = set("0123456789X") - {check}
        assert {refused_as(body + other, "organisation_code")[1] for other in others} == {"check_digit"}

    def test_before_their_standards_they_are_refused(self) -> None:
        assert refused_as(USCC, "uscc", date(2015, 9, 30)) == ("id.uscc", "rule_not_in_force")
        assert refused_as(ORGANISATION, "organisation_code", date(1996, 12, 31))[1] == "rule_not_in_force"


class TestReadNumber:
    @pytest.mark.parametrize(
        ("number", "kinds"),
        [
            (RESIDENT, ["resident_id"]),
            (PERMIT, ["residence_permit_hmt"]),
            (TestForeignPermanentResidence.CARD, ["foreign_pr"]),
            (USCC, ["uscc"]),
            (ORGANISATION, ["organisation_code", "passport_foreign"]),
            (OLD, ["resident_id_old", "passport_foreign"]),
            ("H00000000", ["hm_permit", "passport_foreign"]),
            ("E00000000", ["passport_chinese", "passport_foreign"]),
            ("00000000", ["tw_permit", "passport_foreign"]),
            ("AB0000", ["passport_foreign"]),
        ],
    )
    def test_every_kind_it_may_be_proven_ones_first(self, number: str, kinds: list[str]) -> None:
        assert [reading.kind for reading in read_number(number, today())] == kinds

    def test_a_wrong_check_digit_is_not_read_as_something_else(self) -> None:
        """The refusal is that of the nearest kind."""
        for number, rule in [
            (RESIDENT[:-1] + "1", "id.resident_id"),
            (PERMIT[:-1] + "2", "id.residence_permit_hmt"),
            (USCC[:-1] + "4", "id.uscc"),
            (ORGANISATION[:-1] + "5", "id.organisation_code"),
        ]:
            with pytest.raises(RuleRefused) as refused:
                read_number(number, today())
            assert (refused.value.rule, refused.value.detail) == (rule, {"wrong": "check_digit"})

    def test_any_text_is_read_or_refused_by_a_rule_in_words_without_it(self) -> None:
        """Invariant 3: neither reading nor refusal holds the number."""
        chance = random.Random(31)  # noqa: S311 - no secret
        letters = "0123456789ABXYZxHMEG- \u00e9\uff11"
        for _ in range(scaled(3_000)):
            text = "".join(chance.choices(letters, k=chance.randrange(5, 22)))
            rules = today()
            try:
                said = str(msgspec.to_builtins(read_number(text, rules)))
            except RuleRefused as refused:
                said = f"{refused} {refused.detail}"
            assert text not in said
            assert any(rule.startswith("id.") for rule in cited_rules(rules))

    def test_readings_do_not_repeat_the_order_number(self) -> None:
        for number in (RESIDENT, PERMIT, OLD, USCC):
            for reading in read_number(number, today()):
                assert re.search(number[-4:], repr(reading)) is None
                assert number[:6] not in repr(reading)


class TestTheGuardOfIdentifiers:
    """`identifiers` reads the same rows, once, and refuses such numbers whatever the date."""

    def test_it_knows_the_samples(self) -> None:
        assert identifiers.is_resident_id(RESIDENT)
        assert identifiers.is_resident_id(PERMIT)
        assert not identifiers.is_resident_id(RESIDENT[:-1] + "1")
        assert not identifiers.is_keepable(OLD)
        assert identifiers.is_keepable("9" + OLD[1:])

    def test_the_old_pattern_holds_the_provinces_and_no_other_pair_of_digits(self) -> None:
        """GB/T 2260, and 83 of the residence permits."""
        spans = [(11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83)]
        provinces = {pair for first, last in spans for pair in range(first, last + 1)}
        for pair in range(100):
            found = identifiers.OLD_RESIDENT_ID.search(f"{pair:02d}{OLD[2:]}") is not None
            assert found == (pair in provinces)
