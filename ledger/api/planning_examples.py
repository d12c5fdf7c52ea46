"""The examples of questions about the future, and their answers as they are computed."""

from datetime import date
from typing import Any

from ledger.planning import taxes
from ledger.planning.taxes import PayoutAsked, TaxQuestion

DAY = date(2026, 11, 22)
TAX_QUESTION = TaxQuestion(
    on=DAY,
    wages_fen=26_000_000,
    personal_pension_fen=1_200_000,
    payouts=(PayoutAsked(product="enterprise_annuity", form="monthly", amount_fen=500_000),),
)


def answers() -> dict[str, dict[str, Any]]:
    """By the name of the model."""
    return {"TaxAnswer": taxes.answer(TAX_QUESTION).model_dump(mode="json")}
