"""The sample is the same every time, a larger one contains a smaller one, and the demo may run again and again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ledger.__main__ import app
from ledger.demo import MAX_MONTHS, Sample, write_sample
from ledger.domain.catalogue import RECORDS
from ledger.domain.commands import COMMANDS
from ledger.domain.events import FACTS
from ledger.journal import Journal
from tests.test_command_line import OPENING
from tests.test_files import ndjson

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from ledger.database import Database

SMALL = ("demo", "--people", "41", "--months", "12", "--once")


def demo(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments or SMALL), catch_exceptions=False)


@pytest.fixture
def on_database(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """The command line uses this database and this folder."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", database.url)
    monkeypatch.setenv("LEDGER_DATA_FOLDER", str(tmp_path))
    return database


def files(sample: Sample) -> list[Path]:
    return [*sample.accounts, *sample.contributions, *sample.entries, sample.identities, sample.unmerge]


def test_the_same_arguments_give_the_same_files_byte_for_byte(tmp_path: Path) -> None:
    one, other = (write_sample(tmp_path / name, people=30, months=5) for name in ("one", "other"))
    assert [path.read_bytes() for path in files(one)] == [path.read_bytes() for path in files(other)]


def test_a_larger_sample_contains_the_rows_of_a_smaller_one(tmp_path: Path) -> None:
    small, large = (
        write_sample(tmp_path / str(months), people=people, months=months)
        for people, months in ((30, 5), (60, MAX_MONTHS))
    )
    for few, many in zip(files(small), files(large), strict=True):
        missing = set(few.read_bytes().splitlines()) - set(many.read_bytes().splitlines())
        assert all(b"wrong" in line or b"{" not in line for line in missing), few.name


def test_the_demo_prints_refusals_a_breach_its_rescission_and_one_sheet(on_database: Database) -> None:
    result = demo()
    assert result.exit_code == 0
    for words in (
        "YearlyCapExceeded",
        "AccountUnknown",
        "CommandIdReused",
        "MoveNotLawful",
        "CannotLinkActive",
        "LimitBreachRecorded: 12,000.00 yuan above the cap",
        "LimitBreachRescinded",
        "DuplicateAccountRescinded",
        "企业年金 Enterprise annuity, EA-0000000",
        "职业年金 Occupational annuity, OA-0000000",
        "团体养老保障 Group pension, GP-0000000",
        "个人养老金 Personal pension, PP-0000000",
        "商业养老金 Commercial pension, CP-0000000",
        "合计 Total",
        "Try next",
    ):
        assert words in result.output
    assert re.search(r"Total .* 8 +[\d,]+ *\n", result.output), "eight lines are malformed"
    assert Journal(on_database).read(limit=1).head is not None


def test_a_second_run_posts_nothing_and_prints_the_same_sheet(on_database: Database) -> None:
    first = demo()
    size = Journal(on_database).read().head
    second = demo()
    assert second.exit_code == 0
    assert Journal(on_database).read().head == size
    sheet = first.output[first.output.index("5. One person") :]
    assert second.output.endswith(sheet)


def test_more_people_and_months_may_follow(on_database: Database) -> None:
    demo("demo", "--people", "5", "--months", "2", "--once")
    size = Journal(on_database).read().head or 0
    assert demo("demo", "--people", "6", "--months", "3", "--once").exit_code == 0
    assert (Journal(on_database).read().head or 0) > size


def test_the_demo_keeps_away_from_a_ledger_with_other_facts(on_database: Database, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["post", str(ndjson(tmp_path / "o.ndjson", *OPENING))]).exit_code == 0
    result = demo()
    assert result.exit_code == 2
    assert "facts cannot be removed" in " ".join(result.output.replace("│", " ").split())
    assert Journal(on_database).read().head == 2


def test_the_facts_of_the_sample_are_those_that_the_catalogue_names(on_database: Database) -> None:
    """The table in docs/commands.md says what a command records; the sample tries most of them."""
    demo()
    recorded = {found.event.type for found in Journal(on_database).read()}
    named = {fact.__name__ for facts in RECORDS.values() for fact in facts}
    assert recorded <= named
    assert named == set(FACTS)
    assert set(RECORDS) == set(COMMANDS.values())
