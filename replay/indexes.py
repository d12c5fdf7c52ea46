"""Compare what stands beside the facts with them: the tag index, and the receipts of commands.

Both are exact joins on the server, over the tags and command ids that are stored with the facts. That the tags follow from
the data is compared where the facts are folded; that data, tags and command ids are those that were sealed, by `verify`.
"""

from typing import Final

from ledger.domain.events import FACTS
from replay.differences import MAX_DIFFERENCES, Differences
from replay.facts import Connection

TAG_INDEX: Final = "event_tag"
COMMANDS: Final = "command"

TAGS_DIFFER = b"""
SELECT coalesce(fact.tag, entry.tag), coalesce(fact.position, entry.position), fact.tag IS NULL
FROM (
    SELECT tag, position
    FROM event
    CROSS JOIN unnest(tags) AS mention (tag)
) AS fact
FULL JOIN event_tag AS entry ON entry.tag = fact.tag AND entry.position = fact.position
WHERE fact.tag IS NULL OR entry.tag IS NULL
LIMIT %s
"""

# Events of the plain recorder interface have no command.
COMMANDS_DIFFER = b"""
SELECT coalesce(fact.command_id, receipt.command_id), receipt.first_position, receipt.last_position,
    fact.first_position, fact.last_position, fact.facts
FROM (
    SELECT command_id, min(position) AS first_position, max(position) AS last_position, count(*) AS facts
    FROM event
    WHERE type = ANY (%s)
    GROUP BY command_id
) AS fact
FULL JOIN (
    SELECT command_id, first_position, last_position
    FROM command
    WHERE first_position IS NOT NULL
) AS receipt ON receipt.command_id = fact.command_id
WHERE receipt.first_position IS DISTINCT FROM fact.first_position
    OR receipt.last_position IS DISTINCT FROM fact.last_position
    OR fact.facts IS DISTINCT FROM fact.last_position - fact.first_position + 1
LIMIT %s
"""


def compare_indexes(connection: Connection, found: Differences) -> None:
    """Compare both with the facts of this snapshot."""
    for tag, position, is_stray in connection.execute(TAGS_DIFFER, (MAX_DIFFERENCES + 1,)).fetchall():
        here, there = ("an entry", "none") if is_stray else ("none", "an entry")
        found.add(TAG_INDEX, f"position {position}, {tag}", stored=here, refolded=there)
    rows = connection.execute(COMMANDS_DIFFER, (list(FACTS), MAX_DIFFERENCES + 1)).fetchall()
    for command_id, first, last, first_fact, last_fact, facts in rows:
        receipt = "no receipt" if first is None else f"a receipt for positions {first} to {last}"
        facts_said = "no fact" if facts is None else f"{facts} facts from position {first_fact} to {last_fact}"
        found.add(COMMANDS, command_id, stored=receipt, refolded=facts_said)
