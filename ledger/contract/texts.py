"""What the document says in words: what is guaranteed, and what a sender or a follower has to do for it."""

from ledger.application import MAX_COMMANDS
from ledger.broker import MAX_COMMANDS_MESSAGE_BYTES
from ledger.domain.reading import MAX_COMMAND_BYTES
from ledger.domain.refusals import REFUSALS
from ledger.messages import SENTENCES
from ledger.settings import Settings
from ledger.signing import CONTEXT, HEADER

DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
COMMANDS_TOPIC, EVENTS_TOPIC, REFUSALS_TOPIC = (
    str(DEFAULTS[name]) for name in ("commands_topic", "events_topic", "refusals_topic")
)

ABOUT = f"""
Internal systems post account changes to `{COMMANDS_TOPIC}`, follow what was recorded on `{EVENTS_TOPIC}`, and find what was
refused on `{REFUSALS_TOPIC}`. The names are settings of the ledger (`LEDGER_COMMANDS_TOPIC` and so on).

- **Amounts** are integer fen (1 yuan = 100 fen).
- **Commands have ids**, which make them idempotent: a command sent again, with the same id and content, is recorded once. So a
  source system that did not see an acknowledgement sends again. An id begins with the source system and a slash or colon.
- **Positions** number the facts from 1, without a gap. They are the same wherever the ledger speaks of them.
- **Schemas** have versions: one with another meaning has another `$id`, and the file of the earlier one stays. Facts are never
  rewritten; what a later version adds is optional, so that it takes all that was recorded before.
- **Patterns** are those of ECMA-262, where `$` is the end of the text, and a whole number is written without a fraction.
"""
SIGNING = f"""
The header `{HEADER}` says who sends: `<kid>.<signature in base64url without padding>`, over these bytes one after the other:
`{CONTEXT.decode()}`, LF, the topic, LF, the length of the key in bytes as a decimal number, LF, the key, the value. A message
without a key signs length 0. Ed25519 (RFC 8032) is recommended; a source with very many single messages may use HMAC with
SHA-256 and a secret of 32 bytes or more. The operator enters the public key or the secret with what its owner may post: a key
posts for its own source system alone, whatever the broker's own access control lets it write.
"""
COMMANDS_SAID = f"""
A message is one command, a JSON object, or a list of up to {MAX_COMMANDS:,} commands, a JSON array; a message is at most
{MAX_COMMANDS_MESSAGE_BYTES:,} bytes, a command at most {MAX_COMMAND_BYTES:,}.

**Key**: the first entity that the command names, `account:EA-1` or `identity:ea-core:1001`: in alphabetical order of its members
the first account or identity. A list has the key of its first command, and should hold only commands whose keys fall into the
same partition.

**Order** is kept within a partition, so within a key; of a list, from first to last. What needs something under another key,
as an opening needs the registration of its identity, is sent when that was published, or after it under its key or in its list.

**Exactly once**: what comes of a message is recorded in one transaction with how far the partition was read. A message that
comes twice is decided once, because its commands have ids.

**Refusals**: what cannot be read or is refused is published on `{REFUSALS_TOPIC}`. In a list each command stands for itself.

{SIGNING}"""
EVENTS_SAID = """
Every fact of the journal, as CloudEvents 1.0 in binary mode: the value is the stored bytes exactly, which the leaves of the
Merkle tree are made of, and the headers are the attributes.

**Key**: the first tag of the fact, which is also `ce_subject`. A fact that mentions several entities is published once, under
the first; `ce_tags` has all of them.

**At least once, in order**: within a partition the facts come in the order of their positions. After a crash some come again,
always from an earlier position on. So a consumer keeps, for each partition, the highest `ce_position` that it has dealt with, in
one transaction with what it did about it, and drops every message whose position is not above it. It then misses nothing and
does nothing twice. Over all partitions the positions have no gaps; within one they have, where facts went to others.

**Others**: a message whose `ce_type` is not in this document, because a later version of the ledger or another program on its
journal wrote it, has a position too. It is passed over, and its position kept.

**Tags**: the schema of a fact says in `x-tagged` and `x-entity` how its tags follow from its members.
"""
REFUSALS_SAID = """
Messages and commands that were refused: key, value and signature as they came, and in the headers why. Of a list the value is
the one command alone, `refusal-item` its place, and the signature still that of the whole. The number in `refusal-number` counts
them from 1 in the order of refusal; repeats are dropped by it as those of facts are by their position. A command that the
deciders refused keeps its id, and gets the same answer again: what was wrong is mended and sent under a new one.
`PosterNotPermitted` and what concerns messages record no command, and leave the id free.

| Code | Sentence |
|---|---|
"""


def refusal_codes() -> str:
    sentences = SENTENCES | {code: refusal.sentence for code, refusal in REFUSALS.items()}
    return "\n".join(f"| `{code}` | {sentence} |" for code, sentence in sentences.items())
