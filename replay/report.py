"""The auditor's report: one page that says what was checked, up to which position, and with which result.

1. The same ledger, keys and copies give the same bytes: no clock, no duration, no address of a server.
2. What was not checked is said, with what would check it.
3. It holds if and only if nothing was found.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from ledger.domain.notes import VerifierKey
from replay.closes import Closes, examine_closes
from replay.comparing import Compared, Progress, compare
from replay.drift import Drift, drift
from replay.facts import opened
from replay.published import Outside
from replay.verify import Verified, verify

VERSION: Final = "pension-ledger/report/v1"
MAX_LISTED: Final = 50
NOT_OUTSIDE: Final = (
    "The copies of the checkpoints outside the database were not given (--checkpoints): a history that was rewritten "
    "together with all of its seals, or cut off at the end, would not be found."
)
NOT_WITNESSED: Final = "No checkpoint was countersigned by a witness, and none has a time token: there are none yet."


@dataclass(frozen=True)
class Section:
    """One question: what was asked, what was gone through, and every answer that is not as it should be."""

    title: str
    checked: list[tuple[str, str]]
    findings: list[str]


@dataclass(frozen=True)
class Report:
    """What is printed."""

    head: int
    sealed: int
    root: str
    keys: list[str]
    sections: list[Section]
    not_checked: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not any(section.findings for section in self.sections)

    @property
    def result(self) -> str:
        """In one sentence."""
        count = sum(len(section.findings) for section in self.sections)
        return "Everything that was checked holds." if self.holds else f"{count} findings: the ledger does not hold."

    def as_dict(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "holds": self.holds,
            "head": self.head,
            "sealed": self.sealed,
            "root": self.root,
            "keys": self.keys,
            "sections": [
                {"title": each.title, "checked": dict(each.checked), "findings": each.findings}
                for each in self.sections
            ],
            "not_checked": self.not_checked,
        }


def examine(  # noqa: PLR0913 - each is a choice of the auditor's
    url: str,
    keys: Sequence[VerifierKey],
    *,
    outside: Outside | None,
    processes: int,
    state_file: Path | None,
    verifying: Progress = lambda _done, _total: None,
    refolding: Progress = lambda _done, _total: None,
) -> Report:
    """Verify, refold, look at closings and at drift. Raises as they do."""
    verified = verify(url, keys, outside=outside, processes=processes, state_file=state_file, progress=verifying)
    compared = compare(url, processes=processes, progress=refolding)
    with opened(url) as connection:
        closes = examine_closes(connection, verified.head)
    # Without any setting of ours, which would stand beside those that are to be looked at.
    with psycopg.connect(url) as connection:
        drifted = drift(connection)
    not_checked = [NOT_OUTSIDE] if outside is None else []
    if verified.read_from > 1:
        not_checked.append(
            f"The stored bytes of positions 1 to {verified.read_from - 1} were read by an earlier run, and not again."
        )
    if verified.head > verified.sealed:
        not_checked.append(f"Positions {verified.sealed + 1} to {verified.head} are not sealed yet.")
    return Report(
        head=verified.head,
        sealed=verified.sealed,
        root=verified.root,
        keys=[str(key) for key in keys],
        sections=[_history(verified, outside), _numbers(compared), _books(closes), _doors(drifted)],
        not_checked=[*not_checked, *verified.notes, NOT_WITNESSED, *drifted.notes],
    )


def _history(verified: Verified, outside: Outside | None) -> Section:
    checked = [
        ("facts hashed again", f"{verified.head - verified.read_from + 1}"),
        ("checkpoints, each with its signature and root", f"{verified.checkpoints}"),
    ]
    if outside is not None:
        checked += [
            ("checkpoints outside the database", f"{len(outside.roots)}"),
            ("tile roots outside the database", f"{len(outside.tile_roots)}"),
            ("lines outside that a crash tore", f"{outside.torn}"),
        ]
    findings = [str(each) for each in verified.findings]
    return Section("Is the history complete and unchanged?", checked, _limited(findings, verified.more_findings))


def _numbers(compared: Compared) -> Section:
    checked = [
        ("facts folded again", f"{compared.facts}"),
        ("memories compared", f"{compared.memories}"),
        *((f"note {number}", note) for number, note in enumerate(compared.notes, 1)),
    ]
    return Section("Does every number follow from the facts?", checked, _limited(compared.differences))


def _books(closes: Closes) -> Section:
    checked = [
        (f"{close.period} closed at position {position}", f"over {close.tree_size} facts, root {close.root}")
        for position, close in closes.closes[-MAX_LISTED:]
    ]
    checked.append(("periods closed", f"{len(closes.closes)}"))
    checked.append(("prior-period adjustments, all declared", f"{closes.adjusted}"))
    return Section("Were the books closed rightly?", checked, _limited(closes.findings))


def _doors(drifted: Drift) -> Section:
    checked = [("triggers, grants, roles, functions and settings", "compared with those of this version")]
    findings = _limited([str(each) for each in drifted.differences])
    return Section("Are the doors as they should be?", checked, findings)


def _limited(findings: Sequence[str], more: int = 0) -> list[str]:
    more += max(0, len(findings) - MAX_LISTED)
    return [*findings[:MAX_LISTED], *([f"and {more} more"] if more else [])]


def as_json(report: Report) -> str:
    """For programs."""
    return json.dumps(report.as_dict(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def as_text(report: Report) -> str:
    """For a terminal or a file."""
    lines = [
        "Report on the pension account ledger",
        "",
        report.result,
        "",
        f"Journal up to position  {report.head}",
        f"Sealed up to position   {report.sealed}",
        f"Root                    {report.root or 'none'}",
        *(f"Verifier key            {key}" for key in report.keys),
    ]
    for section in report.sections:
        lines += ["", section.title, f"   {'holds' if not section.findings else 'DOES NOT HOLD'}"]
        lines += [f"   {name}: {value}" for name, value in section.checked]
        lines += [f"   FINDING  {finding}" for finding in section.findings]
    lines += ["", "Not checked", *(f"   {each}" for each in report.not_checked)]
    return "\n".join(lines) + "\n"


STYLE: Final = """
@page { size: A4; margin: 18mm }
body { font: 11pt/1.45 serif; max-width: 44em; margin: 2em auto; color: #111 }
h1 { font-size: 16pt; margin-bottom: 0 }
h2 { font-size: 12pt; margin: 1.2em 0 .2em; break-after: avoid }
.result { font-weight: bold; padding: .4em .8em; border: 2px solid }
.holds { border-color: #176b2c } .fails { border-color: #a31515 }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #bbb; padding: .15em .6em .15em 0; vertical-align: top; overflow-wrap: anywhere }
td:first-child { width: 45% } li.finding { color: #a31515 } code { font-size: 9pt; overflow-wrap: anywhere }
"""


def as_html(report: Report) -> str:
    """One page that prints well, without anything from elsewhere."""
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>Report on the pension account ledger</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        "<h1>Report on the pension account ledger</h1>",
        f'<p class="result {"holds" if report.holds else "fails"}">{html.escape(report.result)}</p>',
        _table(
            [
                ("Journal up to position", str(report.head)),
                ("Sealed up to position", str(report.sealed)),
                ("Root", report.root or "none"),
                *(("Verifier key", key) for key in report.keys),
            ]
        ),
    ]
    for section in report.sections:
        verdict = "holds" if not section.findings else "does not hold"
        parts += [f"<h2>{html.escape(section.title)} <small>({verdict})</small></h2>", _table(section.checked)]
        if section.findings:
            parts.append(_list(section.findings, 'class="finding"'))
    parts += ["<h2>Not checked</h2>", _list(report.not_checked, ""), "</body>\n</html>\n"]
    return "\n".join(parts)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>\n" for name, value in rows)
    return f"<table>\n{cells}</table>"


def _list(items: Sequence[str], attributes: str) -> str:
    listed = "".join(f"<li {attributes}>{html.escape(item)}</li>\n".replace("<li >", "<li>") for item in items)
    return f"<ul>\n{listed}</ul>"
