"""Special additional deductions from comprehensive income (专项附加扣除, 国发〔2023〕13号), each with its own limit."""

from typing import Final, Literal

from msgspec import Struct

from ledger.domain.rules import Rules

City = Literal["large_city", "middle_city", "small_city"]
MONTHS_OF_YEAR: Final = 12


class Claims(Struct, frozen=True, kw_only=True):
    """What a person claims for one year.

    Months of children are added up over the children; `half_...` are months of which the other parent
    takes one half. `..._before` are months used up in earlier years. `elderly_share_fen` is her agreed
    share of one month; None: an only child.
    """

    infant_months: int = 0
    half_infant_months: int = 0
    child_months: int = 0
    half_child_months: int = 0
    study_months: int = 0
    study_months_before: int = 0
    certificate: bool = False
    illness_cost_fen: int = 0
    loan_months: int = 0
    loan_months_before: int = 0
    rent_months: int = 0
    rent_city: City = "small_city"
    elderly_months: int = 0
    elderly_share_fen: int | None = None


def _months_allowed(asked: int, before: int, at_most: int) -> int:
    return min(asked, max(0, at_most - before))


def _check(claims: Claims) -> None:
    for name in ("study_months", "loan_months", "rent_months", "elderly_months"):
        if not 0 <= getattr(claims, name) <= MONTHS_OF_YEAR:
            raise ValueError(f"{name} is {getattr(claims, name)}; a year has 0 to {MONTHS_OF_YEAR}")
    counted = ("infant_months", "half_infant_months", "child_months", "half_child_months")
    for name in (*counted, "study_months_before", "loan_months_before", "illness_cost_fen"):
        if getattr(claims, name) < 0:
            raise ValueError(f"{name} is {getattr(claims, name)}; give zero or more")


def _elderly_fen(claims: Claims, rules: Rules) -> int:
    terms = rules.terms("iit.sad.elderly")
    if claims.elderly_share_fen is None:
        return claims.elderly_months * terms.whole("only_child_month_fen")
    most_fen = terms.whole("shared_max_month_fen")
    if not 0 <= claims.elderly_share_fen <= most_fen:
        raise rules.refuse(
            "iit.sad.elderly", "who shares with brothers and sisters takes at most this a month", most_fen=most_fen
        )
    return claims.elderly_months * claims.elderly_share_fen


def special_additional(claims: Claims, rules: Rules) -> dict[str, int]:
    """What may be deducted in the year, in fen by rule id, for each kind that is claimed.

    Months above a kind's limit do not count. A share for parents above its limit is refused, and so are loan and rent
    in one year.
    """
    _check(claims)
    if claims.loan_months and claims.rent_months:
        rules.provision("iit.sad.loan_or_rent")
        raise rules.refuse("iit.sad.loan_or_rent", "claim either the loan or the rent for one year")
    found: dict[str, int] = {}
    for kind in ("infant", "child"):
        whole, half = getattr(claims, f"{kind}_months"), getattr(claims, f"half_{kind}_months")
        if whole or half:
            month_fen = rules.limit(f"iit.sad.{kind}").value
            found[f"iit.sad.{kind}"] = whole * month_fen + half * month_fen // 2
    if claims.study_months or claims.certificate:
        study = rules.terms("iit.sad.study")
        months = _months_allowed(claims.study_months, claims.study_months_before, study.whole("max_months"))
        certificate_fen = study.whole("certificate_year_fen") if claims.certificate else 0
        found["iit.sad.study"] = months * study.whole("month_fen") + certificate_fen
    if claims.illness_cost_fen:
        illness = rules.terms("iit.sad.illness")
        above_fen = max(0, claims.illness_cost_fen - illness.whole("above_fen"))
        found["iit.sad.illness"] = min(above_fen, illness.whole("cap_year_fen"))
    if claims.loan_months:
        loan = rules.terms("iit.sad.loan")
        months = _months_allowed(claims.loan_months, claims.loan_months_before, loan.whole("max_months"))
        found["iit.sad.loan"] = months * loan.whole("month_fen")
    if claims.rent_months:
        found["iit.sad.rent"] = claims.rent_months * rules.terms("iit.sad.rent", claims.rent_city).whole("month_fen")
    if claims.elderly_months:
        found["iit.sad.elderly"] = _elderly_fen(claims, rules)
    return found
