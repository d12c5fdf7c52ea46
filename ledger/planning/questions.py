"""One question about a life, asked again and again with other levers: the facts stay, and every plan is a fresh one.

Every comparison is made of whole plans: nothing is estimated from another plan, so each can be asked for alone and agrees.
"""

from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from ledger.domain.rules import Rules
from ledger.domain.sheet import BalanceSheet
from ledger.planning.answers import Answers, Levers
from ledger.planning.assumptions import Assumptions
from ledger.planning.plan import Plan, plan


class Question(Struct, frozen=True, eq=False, kw_only=True):
    """What a plan is made from. The rules are shared by all plans, so that they cite what any of them used."""

    sheet: BalanceSheet
    position: int
    answers: Answers
    levers: Levers
    assumptions: Assumptions
    rules: Rules
    used_this_year_fen: int = 0

    def plan(self) -> Plan:
        """The answer. Raises RuleRefused and AnswerRefused."""
        return plan(
            self.sheet,
            self.position,
            self.answers,
            self.levers,
            self.assumptions,
            self.rules,
            used_this_year_fen=self.used_this_year_fen,
        )

    def pulling(self, **levers: object) -> Self:
        """The same with some levers at other values, checked as any others."""
        said = {name: getattr(self.levers, name) for name in type(self.levers).model_fields} | levers
        return replace(self, levers=Levers.model_validate(said))

    def retiring_at(self, month: str) -> Self:
        """The same with another month of retirement."""
        return self.pulling(retirement_month=month, retirement_age_months=None)

    def assuming(self, assumptions: Assumptions) -> Self:
        """The same under other assumptions."""
        return replace(self, assumptions=assumptions)
