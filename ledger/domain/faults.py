"""What is wrong with a request: the places, and the reason at each, in words that quote nothing of it.

A name may stand in a place if it is ours; what the caller made up may be anything, also personal data.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.domain.commands import COMMANDS, AskedLink
from ledger.domain.rules import PRODUCTS

MAX_ERRORS = 20
MAX_REASON_CHARACTERS = 300

# The names that may stand in the place of an error; a caller's own may be anything.
OUR_NAMES = frozenset(
    [
        *(name for command in COMMANDS.values() for name in command.model_fields),
        *AskedLink.model_fields,
        *(part.code for product in PRODUCTS.values() for part in product.parts),
    ]
)


def listed(errors: Iterable[Mapping[str, Any]], names: frozenset[str] | None = None) -> list[dict[str, str]]:
    """Pydantic's errors as a problem names them: the first, and how many more. Only these names are repeated, if given."""
    found = list(errors)
    places = [{"place": _place(error, names), "reason": _reason(error)} for error in found[:MAX_ERRORS]]
    if len(found) > MAX_ERRORS:
        places.append({"place": "", "reason": f"and {len(found) - MAX_ERRORS} more"})
    return places


def _place(error: Mapping[str, Any], names: frozenset[str] | None) -> str:
    """As in `[3].amounts_fen.employee`. A name that the caller made up is a question mark: it may be anything."""
    place = ""
    # What is wrong with a command's `type`, pydantic says of the whole command.
    further = ("type",) if error["type"].startswith("union_tag") else ()
    for step in (*error["loc"], *further):
        if isinstance(step, int):
            place += f"[{step}]"
        elif step not in COMMANDS:  # Which command it is says its own `type`.
            is_ours = error["type"] != "extra_forbidden" if names is None else step in names
            place += f".{step}" if is_ours else ".?"
    return place.removeprefix(".")


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return "`type` must name a command"  # Pydantic's own sentence quotes it.
    return str(error["msg"]).removeprefix("Value error, ")[:MAX_REASON_CHARACTERS]
