"""Matter: source identities are registered."""

from ledger.domain import refusals as r
from ledger.domain.commands import RegisterSourceIdentity
from ledger.domain.decider import Decision, View, envelope
from ledger.domain.entries import wrong_date
from ledger.domain.events import SourceIdentityRegistered
from ledger.domain.identifiers import one_id_of

REFUSES = (r.EffectiveDateAbsurd, r.IdentityRegisteredDifferently)


def register_source_identity(command: RegisterSourceIdentity, view: View) -> Decision:
    """Registering again with the same content changes nothing; with other content it is refused."""
    if (refusal := wrong_date(command)) is not None:
        return refusal
    known = view.identity(command.sid)
    if known is not None:
        same = (known["provider"], known["verification_tier"]) == (command.provider, command.verification_tier)
        return [] if same else r.IdentityRegisteredDifferently(sid=command.sid)
    return [
        SourceIdentityRegistered(
            one_id=one_id_of(command.sid),
            provider=command.provider,
            sid=command.sid,
            verification_tier=command.verification_tier,
            **envelope(command),
        )
    ]
