"""What the documents say is what the program does, where a table can be compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.domain.catalogue import markdown_tables
from ledger.files import check_files
from ledger.terminal import EXIT_CODES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_table_of_commands_is_that_of_the_catalogue() -> None:
    assert markdown_tables() in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_catalogue_prints_its_table() -> None:
    command = [sys.executable, "-m", "ledger.domain.catalogue"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == markdown_tables()


def test_the_readme_has_every_exit_code() -> None:
    codes = re.findall(r"^- `(\d)` (.*)$", EXIT_CODES, re.MULTILINE)
    assert [code for code, _ in codes if f"| `{code}` |" not in README] == []


@pytest.mark.parametrize(("language", "suffix"), [("json", ".ndjson"), ("csv", ".csv")])
def test_the_examples_of_file_formats_are_well_formed(tmp_path: Path, language: str, suffix: str) -> None:
    examples = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert examples
    for example in examples:
        path = tmp_path / f"example{suffix}"
        path.write_text(example, encoding="utf-8")
        assert check_files([path], advance=lambda _size: None)[0].malformed == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
