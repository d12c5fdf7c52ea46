"""Files: what a line means, what is reported, and that memory does not grow (invariants of parsing.py and files.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ledger.application import Ledger, Outcome, Receipt
from ledger.domain.commands import PostContribution
from ledger.files import FileReport, check_files, check_openings, is_report, post_file
from ledger.parsing import BATCH_LINES, MAX_LINE_BYTES, FileUnreadable, read_batches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ledger.database import Database
    from ledger.domain.commands import Command

HEADING = "# source=ea-core decided_at=2025-01-31T18:00:00+08:00"
HEADER = "account,period,effective_on,voucher,tax_treatment,employee_yuan,employer_vested_fen"
ENVELOPE = {"actor": "system:ea-core", "decided_at": "2025-01-31T18:00:00+08:00", "effective_on": "2025-01-25"}


def contribution(number: int, **changes: object) -> dict[str, Any]:
    return {
        "type": "PostContribution",
        "command_id": f"ea-core/V{number}",
        "account": "EA-1",
        "amounts_fen": {"employee": 100},
        "period": "2025-01",
        "tax_treatment": "pre_tax",
        **ENVELOPE,
        **changes,
    }


def ndjson(path: Path, *rows: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path


def contributions(path: Path, *rows: str, heading: str = HEADING, header: str = HEADER, end: str = "\n") -> Path:
    path.write_text(end.join([heading, header, *rows, ""]), encoding="utf-8", newline="")
    return path


def read(path: Path) -> tuple[list[Command], dict[int, str]]:
    batches = list(read_batches(path))
    commands = [command for batch in batches for command in batch.commands]
    return commands, {line: reason for batch in batches for line, reason in batch.malformed}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def accepting(commands: Sequence[Command]) -> list[Outcome]:
    """A ledger that accepts everything: for tests of what is read, not of what is decided."""
    return [Receipt(command.command_id, 1, 1) for command in commands]


def posted(ledger: Ledger, path: Path) -> FileReport:
    return post_file(ledger.post, path, advance=lambda _size: None)


@pytest.fixture
def ledger(database: Database, tmp_path: Path) -> Ledger:
    """A ledger in which the account EA-1 is open."""
    ledger = Ledger(database)
    opening = {"account": "EA-1", "institution": "trustee", "opened_on": "2025-01-02", "product": "enterprise_annuity"}
    rows: list[dict[str, Any]] = [
        {"type": "RegisterSourceIdentity", "command_id": "i/1", "provider": "p", "sid": "ea-core:1", **ENVELOPE},
        {"type": "OpenAccount", "command_id": "o/1", "sid": "ea-core:1", **opening, **ENVELOPE},
    ]
    assert posted(ledger, ndjson(tmp_path / "opening.ndjson", *rows)).accepted == 2
    return ledger


class TestContributionLists:
    def test_a_row_is_a_command_whose_id_is_its_source_system_and_voucher(self, tmp_path: Path) -> None:
        row = "EA-1,2025-01,2025-01-25,V1,pre_tax,1200.5,80001"
        commands, malformed = read(contributions(tmp_path / "list.csv", row))
        assert not malformed
        (command,) = commands
        assert isinstance(command, PostContribution)
        assert command.command_id == "ea-core/V1"
        assert command.actor == "system:ea-core"
        assert command.amounts_fen == {"employee": 120_050, "employer_vested": 80_001}
        assert command.decided_at.isoformat() == "2025-01-31T18:00:00+08:00"

    @pytest.mark.parametrize(
        ("cell", "fen"), [("0.01", 1), ("0.1", 10), ("-3.05", -305), ("0", 0), ("9007199254.99", 900_719_925_499)]
    )
    def test_yuan_become_fen_exactly(self, tmp_path: Path, cell: str, fen: int) -> None:
        ((command,), _) = read(contributions(tmp_path / "list.csv", f"EA-1,2025-01,2025-01-25,V1,pre_tax,{cell},"))
        assert isinstance(command, PostContribution)
        assert command.amounts_fen == {"employee": fen}

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,1.005,", "employee_yuan: an amount in yuan has up to two decimals"),
            ('EA-1,2025-01,2025-01-25,V1,pre_tax,"1,200.00",', "employee_yuan"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,1e3,", "employee_yuan"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,NaN,", "employee_yuan"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,\uff11\uff12,", "employee_yuan"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax," + "9" * 5000 + ",", "employee_yuan"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,,1.5", "employer_vested_fen: an amount in fen is a whole number"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,,999999999999999", "less than or equal to"),
            ("EA-1,2025-01,2025-01-25,V1,pre_tax,1", "6 cells, and the list has 7 columns"),
            ("EA-1,2025-13,2025-01-25,V1,pre_tax,1,", "period"),
            ("EA-1,2025-01,25.01.2025,V1,pre_tax,1,", "effective_on: a date is written YYYY-MM-DD"),
            ("EA-1,2025-01,2025-02-30,V1,pre_tax,1,", "effective_on"),
            ("EA-1,2025-01,2025-01-25,,pre_tax,1,", "voucher"),
            ("EA-1,2025-01,2025-01-25,V 1,pre_tax,1,", "voucher"),
            ("EA-1,2025-01,2025-01-25,V1,untaxed,1,", "tax_treatment"),
            ('EA-1,2025-01,2025-01-25,V1,pre_tax,"1,', "not CSV"),
        ],
    )
    def test_a_malformed_row_has_its_line_number_and_reason_and_the_rest_goes_on(
        self, tmp_path: Path, row: str, reason: str
    ) -> None:
        good = "EA-1,2025-01,2025-01-25,V{},pre_tax,1,"
        commands, malformed = read(contributions(tmp_path / "list.csv", good.format(8), row, good.format(9)))
        assert [command.command_id for command in commands] == ["ea-core/V8", "ea-core/V9"]
        assert list(malformed) == [4]
        assert reason in malformed[4]

    def test_a_column_may_say_when_each_row_was_decided(self, tmp_path: Path) -> None:
        header = HEADER + ",decided_at"
        rows = [
            "EA-1,2025-01,2025-01-25,V1,pre_tax,1,,2025-01-30T00:00:00+08:00",
            "EA-1,2025-01,2025-01-25,V2,pre_tax,1,,",
        ]
        commands, _ = read(contributions(tmp_path / "list.csv", *rows, header=header))
        assert [command.decided_at.day for command in commands] == [30, 31]

    @pytest.mark.parametrize(
        ("heading", "header", "reason"),
        [
            ("account,period", HEADER, "names no source system"),
            ("# source=EA", HEADER, "names no source system"),
            ("# source=ea-core colour=red", HEADER, "names no source system"),
            ("# source=ea-core", HEADER, "missing column: decided_at"),
            (HEADING, HEADER.replace("voucher,", ""), "missing column: voucher"),
            (HEADING, HEADER + ",employe_yuan", "no such column: employe_yuan"),
            (HEADING, HEADER + ",employee_fen", "no column twice"),
            (HEADING, "account,period,effective_on,voucher,tax_treatment", "at least one column of amounts"),
        ],
    )
    def test_a_list_that_does_not_open_as_it_must_is_not_read(
        self, tmp_path: Path, heading: str, header: str, reason: str
    ) -> None:
        with pytest.raises(FileUnreadable, match=reason):
            read(contributions(tmp_path / "list.csv", heading=heading, header=header))

    def test_a_list_without_its_two_lines_is_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_bytes(b"")
        with pytest.raises(FileUnreadable, match="line 1 is missing"):
            read(tmp_path / "list.csv")


class TestCommandLines:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"{", "Invalid JSON"),
            (b"null", "should be an object"),
            (b"{},{}", "Invalid JSON"),
            (b'{"type": "PostContributions"}', "`type` must name a command"),
            (json.dumps(contribution(1, colour="red")).encode(), "?: Extra inputs are not permitted"),
            (json.dumps(contribution(1, amounts_fen={"employee": 1.5})).encode(), "amounts_fen.employee"),
            (json.dumps(contribution(1, amounts_fen={"employee": float("nan")})).encode(), "amounts_fen.employee"),
            (json.dumps(contribution(1)).replace("100", "1e400").encode(), "amounts_fen.employee"),
            (json.dumps(contribution(1)).replace("100", "9" * 400).encode(), "amounts_fen.employee"),
            (json.dumps(contribution(1)).replace("100", "9" * 9000).encode(), "Invalid JSON: number out of range"),
            (json.dumps(contribution(1, decided_at="2025-01-31T18:00:00")).encode(), "timezone"),
            (b"[" * 100_000, "Invalid JSON"),
        ],
    )
    def test_a_malformed_line_has_its_number_and_reason_and_the_rest_goes_on(
        self, tmp_path: Path, line: bytes, reason: str
    ) -> None:
        commands, malformed = read(ndjson(tmp_path / "c.ndjson", contribution(8), line, contribution(9)))
        assert [command.command_id for command in commands] == ["ea-core/V8", "ea-core/V9"]
        assert list(malformed) == [2]
        assert reason in malformed[2]

    def test_a_reason_never_quotes_the_values_of_the_line(self, tmp_path: Path) -> None:
        """A sid that is a resident ID number is personal data (the number is the example of GB 11643-1999)."""
        row = {"type": "RegisterSourceIdentity", "command_id": "i/1", "provider": "p", **ENVELOPE}
        _, malformed = read(ndjson(tmp_path / "c.ndjson", row | {"sid": "ea-core:11010519491231002X"}))
        assert "pseudonym" in malformed[1]
        assert "1949" not in malformed[1]

    def test_a_line_of_ten_megabytes_is_reported_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        long = b'{"type": "' + b"x" * 10_000_000 + b'"}'
        commands, malformed = read(ndjson(tmp_path / "c.ndjson", contribution(1), long, contribution(2)))
        assert len(commands) == 2
        assert malformed == {2: f"the line is longer than {MAX_LINE_BYTES} bytes"}

    def test_lines_are_numbered_through_all_batches(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any] | bytes] = [contribution(number) for number in range(2 * BATCH_LINES)]
        rows[1_500] = b"{"
        assert list(read(ndjson(tmp_path / "c.ndjson", *rows))[1]) == [1_501]


class TestEncodings:
    def test_a_byte_order_mark_windows_line_ends_and_blank_lines_are_passed_over(self, tmp_path: Path) -> None:
        path = tmp_path / "c.jsonl"
        row = json.dumps(contribution(1)).encode()
        path.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\r\n  \r\n" + row.replace(b"V1", b"V2"))
        commands, malformed = read(path)
        assert [command.command_id for command in commands] == ["ea-core/V1", "ea-core/V2"]
        assert not malformed
        listed = contributions(
            tmp_path / "l.csv", "EA-1,2025-01,2025-01-25,V1,pre_tax,1,", heading="\ufeff" + HEADING, end="\r\n"
        )
        assert [command.command_id for command in read(listed)[0]] == ["ea-core/V1"]

    def test_an_empty_file_of_commands_holds_none(self, tmp_path: Path) -> None:
        assert read(ndjson(tmp_path / "c.ndjson")) == ([], {})

    def test_a_line_in_gbk_is_named_so(self, tmp_path: Path) -> None:
        row = contribution(1, account="企业年金")
        _, malformed = read(ndjson(tmp_path / "c.ndjson", json.dumps(row, ensure_ascii=False).encode("gbk")))
        assert "is not UTF-8 (it reads as GBK); write it as UTF-8" in malformed[1]

    def test_chinese_text_where_a_code_belongs_is_malformed(self, tmp_path: Path) -> None:
        row = contribution(1, account="企业年金")
        _, malformed = read(ndjson(tmp_path / "c.ndjson", json.dumps(row, ensure_ascii=False).encode()))
        assert "account: String should match pattern" in malformed[1]

    def test_a_list_whose_header_is_gbk_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "l.csv"
        path.write_bytes(f"{HEADING}\n账户,期间\n".encode("gbk"))
        with pytest.raises(FileUnreadable, match=r"line 2.*GBK"):
            read(path)

    def test_a_file_in_utf_16_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "c.ndjson"
        path.write_text(json.dumps(contribution(1)), encoding="utf-16")
        with pytest.raises(FileUnreadable, match="UTF-16"):
            read(path)

    def test_a_file_of_another_kind_is_not_read(self, tmp_path: Path) -> None:
        with pytest.raises(FileUnreadable, match=r"must end in .ndjson, .jsonl"):
            read(tmp_path / "contributions.xlsx")


class TestPosting:
    def test_a_file_sent_twice_posts_once(self, ledger: Ledger, tmp_path: Path) -> None:
        path = contributions(tmp_path / "l.csv", "EA-1,2025-01,2025-01-25,V1,pre_tax,1,")
        first, second = posted(ledger, path), posted(ledger, path)
        assert (first.accepted, first.facts, first.repeated) == (1, 1, 0)
        assert (second.accepted, second.facts, second.repeated) == (0, 0, 1)

    def test_a_corrected_row_is_refused_as_reused(self, ledger: Ledger, tmp_path: Path) -> None:
        posted(ledger, contributions(tmp_path / "l.csv", "EA-1,2025-01,2025-01-25,V1,pre_tax,1,"))
        report = posted(ledger, contributions(tmp_path / "l.csv", "EA-1,2025-01,2025-01-25,V1,pre_tax,2,"))
        assert report.refused == {"CommandIdReused": 1}

    def test_refusals_and_malformed_lines_stand_beside_the_file_and_stale_ones_go(
        self, ledger: Ledger, tmp_path: Path
    ) -> None:
        path = ndjson(tmp_path / "c.ndjson", b"{", contribution(1, account="EA-9"), contribution(2))
        report = posted(ledger, path)
        (refusal,) = lines_of(tmp_path / "c.ndjson.refusals.ndjson")
        (malformed,) = lines_of(tmp_path / "c.ndjson.malformed.ndjson")
        assert set(refusal) == {"line", "command_id", "code", "sentence", "detail"}
        assert (refusal["line"], refusal["code"], refusal["detail"]) == (2, "AccountUnknown", {"account": "EA-9"})
        assert malformed["line"] == 1
        assert (report.accepted, report.malformed, report.refused) == (1, 1, {"AccountUnknown": 1})
        assert report.written() == [
            tmp_path / "c.ndjson.refusals.ndjson",
            tmp_path / "c.ndjson.malformed.ndjson",
        ]
        assert all(is_report(written) for written in report.written())
        posted(ledger, ndjson(path, contribution(2)))
        assert sorted(left.name for left in tmp_path.glob("c.ndjson*")) == ["c.ndjson"]

    def test_checking_posts_nothing_and_counts_malformed_lines(self, tmp_path: Path) -> None:
        path = ndjson(tmp_path / "c.ndjson", contribution(1), b"{")
        (report,) = check_files([path], advance=lambda _size: None)
        assert (report.malformed, report.commands) == (1, 0)
        assert [line["line"] for line in lines_of(tmp_path / "c.ndjson.malformed.ndjson")] == [2]

    def test_no_file_is_posted_where_another_cannot_be_read(self, tmp_path: Path) -> None:
        good = ndjson(tmp_path / "c.ndjson", contribution(1))
        with pytest.raises(FileUnreadable):
            check_openings([good, contributions(tmp_path / "l.csv", heading="nothing")])

    def test_an_error_of_the_ledger_reaches_the_caller_and_leaves_no_empty_report(self, tmp_path: Path) -> None:
        def failing(commands: Sequence[Command]) -> list[Outcome]:
            raise ConnectionError(len(commands))

        path = ndjson(tmp_path / "c.ndjson", *(contribution(number) for number in range(3 * BATCH_LINES)))
        with pytest.raises(ConnectionError):
            post_file(failing, path, advance=lambda _size: None)
        assert [left.name for left in tmp_path.iterdir()] == ["c.ndjson"]

    def test_a_file_that_grows_or_shrinks_is_measured_in_bytes_read(self, tmp_path: Path) -> None:
        path = ndjson(tmp_path / "c.ndjson", *(contribution(number) for number in range(1_500)))
        sizes: list[int] = []
        post_file(accepting, path, advance=sizes.append)
        assert sum(sizes) == path.stat().st_size


PEAK = """
import sys
from pathlib import Path
from ledger.application import Receipt
from ledger.files import check_files, post_file
accept = lambda commands: [Receipt(command.command_id, 1, 1) for command in commands]
path = Path(sys.argv[1])
(report,) = check_files([path], advance=lambda size: None)
posted = post_file(accept, path, advance=lambda size: None)
status = dict(line.split(':', 1) for line in open('/proc/self/status', encoding='utf-8'))
print(report.malformed, posted.commands, status['VmHWM'].split()[0])
"""
MAX_PEAK_KB = 150_000


def peak_kb(path: Path) -> tuple[int, int, int]:
    """Malformed lines, commands and peak memory of checking and posting in a process of its own."""
    found = subprocess.run([sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True)
    malformed, commands, peak = map(int, found.stdout.split())
    return malformed, commands, peak


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Every other line is malformed. The peak is VmHWM: ru_maxrss would carry over that of the process that starts this."""
    peaks = []
    for lines in (1_000, 50_000):
        path = tmp_path / f"{lines}.ndjson"
        with path.open("wb") as file:
            for number in range(lines // 2):
                file.write(json.dumps(contribution(number)).encode() + b"\n{\n")
        malformed, commands, peak = peak_kb(path)
        assert (malformed, commands) == (lines // 2, lines // 2)
        peaks.append(peak)
    assert peaks[1] < MAX_PEAK_KB
    assert peaks[1] - peaks[0] < 20_000
