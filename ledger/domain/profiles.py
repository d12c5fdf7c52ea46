"""Matter: a person agrees to be counted in the case library, by four coarse answers, and withdraws it.

1. A profile holds codes alone, each from a dated list: no birth date, wage, name or free text can become a fact.
2. It belongs to one source identity. A declaration is dated no earlier than the one that stands, so that of those that stand
   the last in the journal is the last in time.
3. Nothing but an absurd date keeps her from withdrawing: it counts when it is recorded, not from its effective date.
4. Declaring anew what stands, and nothing else, changes nothing.
"""

from datetime import date

from ledger.domain import refusals as r
from ledger.domain.commands import DeclareProfile, WithdrawProfile
from ledger.domain.decider import Decision, View, envelope
from ledger.domain.entries import wrong_date
from ledger.domain.events import ProfileDeclared, ProfileWithdrawn
from ledger.domain.rules import Rules

DECLARE_REFUSES = (r.EffectiveDateAbsurd, r.IdentityUnknown, r.ProfileCodeUnknown, r.ProfileDatedLater)
WITHDRAW_REFUSES = (r.EffectiveDateAbsurd, r.IdentityUnknown, r.ProfileNotDeclared)

CITY, BIRTH, INCOME, EMPLOYMENT = "profile.city", "profile.birth_band", "profile.income_band", "profile.employment"
PROVINCE_CHARACTERS = len("CN-44")


def declare_profile(command: DeclareProfile, view: View) -> Decision:
    """From its effective date on it replaces what the identity had declared before."""
    if (refusal := wrong_date(command)) is not None:
        return refusal
    identity = view.identity(command.sid)
    if identity is None:
        return r.IdentityUnknown(sid=command.sid)
    if (unknown := _unknown_code(command)) is not None:
        return unknown
    profile = identity.get("profile")
    if profile is not None and command.effective_on.isoformat() < profile.get("effective_on", ""):
        return r.ProfileDatedLater(last=profile["effective_on"])
    answers = {
        "birth_band": command.birth_band,
        "city": command.city,
        "employment": command.employment,
        "income_band": command.income_band,
    }
    if profile is not None and profile.items() >= answers.items():
        return []
    return [
        ProfileDeclared(
            birth_band=command.birth_band,
            city=command.city,
            employment=command.employment,
            income_band=command.income_band,
            sid=command.sid,
            **envelope(command),
        )
    ]


def withdraw_profile(command: WithdrawProfile, view: View) -> Decision:
    """She gives no reason, and needs nobody's approval."""
    if (refusal := wrong_date(command)) is not None:
        return refusal
    identity = view.identity(command.sid)
    if identity is None:
        return r.IdentityUnknown(sid=command.sid)
    profile = identity.get("profile")
    if profile is None or "withdrawn_on" in profile:
        return r.ProfileNotDeclared(sid=command.sid)
    return [ProfileWithdrawn(sid=command.sid, **envelope(command))]


def income_bands(on: date) -> tuple[str, ...]:
    """The codes of income bands in force, from the lowest to the highest."""
    return Rules(on).terms(INCOME).texts("codes")


def employments(on: date) -> tuple[str, ...]:
    """The codes of kinds of employment in force."""
    return Rules(on).terms(EMPLOYMENT).texts("codes")


def provinces(on: date) -> tuple[str, ...]:
    """The codes of provinces in force."""
    return Rules(on).terms(CITY).texts("provinces")


def birth_bands(on: date) -> tuple[str, ...]:
    """The bands of birth years in force, the oldest first."""
    terms = Rules(on).terms(BIRTH)
    width = terms.whole("width_years")
    youngest = on.year - terms.whole("least_age_years")
    return tuple(f"{year}-{year + width - 1}" for year in range(terms.whole("first_year"), youngest + 1, width))


def _unknown_code(command: DeclareProfile) -> r.ProfileCodeUnknown | None:
    on = command.effective_on
    known: dict[str, tuple[str, tuple[str, ...]]] = {
        "birth_band": (command.birth_band, birth_bands(on)),
        "city": (command.city[:PROVINCE_CHARACTERS], provinces(on)),
        "employment": (command.employment, employments(on)),
        "income_band": (command.income_band, income_bands(on)),
    }
    for field, (value, codes) in known.items():
        if value not in codes:
            return r.ProfileCodeUnknown(field=field, codes=list(codes))
    return None
