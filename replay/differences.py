"""Differences between what the journal says and what the database holds, found a window of rows at a time.

1. A window is compared as one text, which the server has joined and Python has spelled from the facts. Only where the
   texts or the numbers of their rows differ is it looked at row by row.
2. Every row is compared, and every row that is lacking or too many is named; up to a bound, and then that is said.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import psycopg
from psycopg.rows import TupleRow

Connection = psycopg.Connection[TupleRow]

MAX_DIFFERENCES: Final = 1_000
WINDOW: Final = 10_000
NOTHING: Final = "nothing"
NULL: Final = "NULL"


class Difference(NamedTuple):
    """One place where the database is not what the journal says; `table` is what was compared."""

    table: str
    place: str
    stored: str
    refolded: str

    def __str__(self) -> str:
        """One line, as long as it is."""
        return f"{self.table}: {self.place}: stored {self.stored}, refolded {self.refolded}"


class Differences:
    """What one part of the comparison has found."""

    def __init__(self) -> None:
        """Nothing is found yet."""
        self.found: list[Difference] = []
        self.has_more = False

    @property
    def is_full(self) -> bool:
        """Whether no more would be listed."""
        return self.has_more

    def add(self, table: str, place: object, *, stored: object, refolded: object) -> None:
        """List one, unless there are too many."""
        if len(self.found) < MAX_DIFFERENCES:
            self.found.append(Difference(table, str(place), str(stored), str(refolded)))
        else:
            self.has_more = True

    def compare(self, table: str, rows: Sequence[TupleRow], refolded: Mapping[str, str], where: str = "") -> None:
        """Rows of key and rest with what they should be; `where` stands before the key."""
        unseen = dict(refolded)
        for key, rest in rows:
            # A NULL is a row too: it differs from the row that should be there, and from none.
            here, there = NULL if rest is None else rest, unseen.pop(key, NOTHING)
            if here != there:
                self.add(table, f"{where}{key}", stored=here, refolded=there)
        for key, there in unseen.items():
            self.add(table, f"{where}{key}", stored=NOTHING, refolded=there)

    def lines(self) -> list[str]:
        """All of them, and whether there are more."""
        more = [f"more than {MAX_DIFFERENCES} differences; the others are not listed"] if self.has_more else []
        return [*map(str, self.found), *more]


class Keyed(NamedTuple):
    """A table whose rows have a text as key, and how the server spells the rest of a row.

    `rows` is SQL for the relation, `key` and `rest` for its columns; the names are our own.
    """

    table: str
    rows: str
    key: str
    rest: str

    def window(self, *, joined: bool, first: bool) -> bytes:
        """The first or next rows in the order of the key: as one text, or each."""
        shown = "max(key), count(*), string_agg(key || E'\\t' || rest, E'\\n' ORDER BY key)" if joined else "key, rest"
        query = f"""
            SELECT {shown}
            FROM (
                SELECT {self.key} AS key, {self.rest} AS rest
                FROM {self.rows}
                WHERE {f"{self.key} IS NOT NULL" if first else f"{self.key} > %(after)s"}
                ORDER BY {self.key}
                LIMIT %(limit)s
            ) AS row
        """  # noqa: S608 - what is put in are names of our own
        return query.encode()

    def without_key(self) -> bytes:
        """How many rows have no key: those stand in no window."""
        return f"SELECT count(*) FROM {self.rows} WHERE {self.key} IS NULL".encode()  # noqa: S608 - as above


def compare_keyed(
    connection: Connection,
    keyed: Keyed,
    keys: Sequence[str],
    spell: Callable[[Sequence[str]], list[str]],
    found: Differences,
) -> None:
    """Compare all rows with those that the sorted keys should have; `spell` gives what follows the key in each row."""
    stray = connection.execute(keyed.without_key()).fetchone()
    if stray != (0,):
        found.add(keyed.table, NULL, stored=f"rows without a key: {stray and stray[0]}", refolded=NOTHING)
    after: str | None = None
    at = 0
    while not found.is_full:
        asked = {"after": after, "limit": WINDOW}
        row = connection.execute(keyed.window(joined=True, first=after is None), asked).fetchone()
        assert row is not None
        last, count, text = row
        end = len(keys) if count < WINDOW else bisect_right(keys, last, lo=at)
        part = keys[at:end]
        rests = spell(part)
        lines = [f"{key}\t{rest}" for key, rest in zip(part, rests, strict=True)]
        if count != len(part) or (text or "") != "\n".join(lines):
            rows = connection.execute(keyed.window(joined=False, first=after is None), asked).fetchall()
            found.compare(keyed.table, rows, dict(zip(part, rests, strict=True)))
        if count < WINDOW:
            return
        after, at = last, end
