"""What a plan is asked for, in one piece: the answers, the levers, the assumptions, the rules, and the months."""

from msgspec import Struct

from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import Assumptions
from ledger.planning.axis import Axis


class Asked(Struct, frozen=True, eq=False):
    """The question. `used_this_year_fen`: paid into the personal pension in the calendar year of the plan's day."""

    sheet: BalanceSheet
    answers: Answers
    levers: Levers
    assumptions: Assumptions
    rules: Rules
    axis: Axis
    used_this_year_fen: int
