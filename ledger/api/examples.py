"""The examples of the OpenAPI document: one account with one contribution, as every route would answer about it."""

from typing import Any

from pydantic_core import to_json

ENVELOPE = {
    "actor": "system:ea-core",
    "decided_at": "2025-01-25T20:00:00+08:00",
    "effective_on": "2025-01-25",
}
REGISTRATION = {
    "type": "RegisterSourceIdentity",
    "command_id": "ea-core/identity/1001",
    **ENVELOPE,
    "sid": "ea-core:1001",
    "provider": "trustee-one",
}
OPENING = {
    "type": "OpenAccount",
    "command_id": "ea-core/opening/1",
    **ENVELOPE,
    "account": "EA-1",
    "sid": "ea-core:1001",
    "product": "enterprise_annuity",
    "institution": "trustee-one",
    "opened_on": "2025-01-02",
}
CONTRIBUTION = {
    "type": "PostContribution",
    "command_id": "ea-core/V-1",
    **ENVELOPE,
    "account": "EA-1",
    "period": "2025-01",
    "amounts_fen": {"employee": 20000, "employer_vested": 40000},
    "tax_treatment": "pre_tax",
}
RECEIPT = {
    "command_id": "ea-core/V-1",
    "status": "accepted",
    "first_position": 3,
    "last_position": 3,
    "repeated": False,
}
# The worked example of the formats, signed by keys of the seeds 0 to 31 and 1 to 32, which nobody may use.
CHECKPOINT = """\
pension-ledger.example/development
3
gdXrLvbeL4SU6150GqFkICx80dEzQG/wcSzpSsThk7M=

— pension-ledger.example/development 4OS3Pa1GUvyPrTckkoUhvywPM0clHai6\
B1JhG5bCccEwfxaNJgD4LgB4nRWHtZrZ6Gx5DY/QNGkX76HkoTGta5bo1AQ=
"""
INCLUSION = f"""\
c2sp.org/tlog-proof@v1
index 2
9SZ9xuMXrS9FZrkwU3X8CEHoHMQ3Qsy0ZhSgzjmzLBY=

{CHECKPOINT}"""
CONSISTENCY = "/NGvf9O6yZrpHYwS17EuxbNO6zejzUI/bRcErj4GT14=\n"
SIGNED = """\
pension-ledger/receipt/v1
pension-ledger.example/development
3
/NGvf9O6yZrpHYwS17EuxbNO6zejzUI/bRcErj4GT14=

— pension-ledger.example/development/receipts fF8E+eHZ8o8TnPdjuXaUBzyR2AOz9alzhX4\
/Z7gE1mtx4U8CstmrNhnGzPaDiRdBYMpdKUMdMV7dTZINsBAmYegiWA8=
"""
REFUSED = {
    "command_id": "ea-core/V-2",
    "status": "refused",
    "refusal": {
        "code": "AccountUnknown",
        "sentence": "No account with this id was opened.",
        "detail": {"account": "EA-9"},
    },
    "repeated": False,
}
COMMAND_EXAMPLES = {
    "one": {"summary": "The receipt of one command", "value": RECEIPT | {"receipt": SIGNED}},
    "list": {
        "summary": "What came of a list",
        "value": {"accepted": 1, "refused": 1, "receipt": SIGNED, "outcomes": [RECEIPT, REFUSED]},
    },
}
OUTCOME_LINES = "\n".join(to_json(outcome).decode() for outcome in (RECEIPT, REFUSED, {"receipt": SIGNED}))

ACCOUNT_LINE = {
    "account": "EA-1",
    "sid": "ea-core:1001",
    "institution": "trustee-one",
    "plan": None,
    "employer": None,
    "opened_on": "2025-01-02",
    "status": "open",
    "takes_contributions": True,
    "parts": [
        {"part": "employee", "vested": True, "balance_fen": 20000},
        {"part": "employer_vested", "vested": True, "balance_fen": 40000},
        {"part": "employer_unvested", "vested": False, "balance_fen": 0},
    ],
    "balance_fen": 60000,
    "vested_fen": 60000,
    "unvested_fen": 0,
    "contributions_fen": 60000,
    "returns_fen": 0,
    "fees_fen": 0,
    "benefits_fen": 0,
    "transferred_in_fen": 0,
    "transferred_out_fen": 0,
}
ONE_ID = "P6E23F5B1D94A7C08"
EXAMPLES: dict[str, dict[str, Any]] = {
    "AccountReading": {
        "known_at": 3,
        "as_of": None,
        "one_id": ONE_ID,
        "product": "enterprise_annuity",
        "account": ACCOUNT_LINE,
    },
    "StatementPage": {
        "account": "EA-1",
        "sid": "ea-core:1001",
        "product": "enterprise_annuity",
        "known_at": 3,
        "as_of": None,
        "order": "effective",
        "balance_fen": 60000,
        "balances_fen": {"employee": 20000, "employer_vested": 40000},
        "lines": [
            {
                "position": 3,
                "effective_on": "2025-01-25",
                "recorded_at": "2025-01-25T12:00:01.250000+00:00",
                "kind": "contribution",
                "amounts_fen": {"employee": 20000, "employer_vested": 40000},
                "amount_fen": 60000,
                "balance_fen": 60000,
                "reverses": None,
                "command_id": "ea-core/V-1",
            }
        ],
        "missing": [],
        "next_cursor": None,
    },
    "Person": {
        "one_id": ONE_ID,
        "known_at": 3,
        "identities": [
            {
                "sid": "ea-core:1001",
                "one_id": ONE_ID,
                "provider": "trustee-one",
                "verification_tier": "unverified",
                "registered_position": 1,
            }
        ],
        "accounts": [{"account": "EA-1", "sid": "ea-core:1001", "product": "enterprise_annuity", "opened_position": 2}],
        "missing": [],
    },
    "SheetReading": {
        "known_at": 3,
        "as_of": None,
        "sheet": {
            "one_id": ONE_ID,
            "identities": [{"sid": "ea-core:1001", "one_id": ONE_ID, "verification_tier": "unverified"}],
            "pillars": [
                {
                    "pillar": 2,
                    "balance_fen": 60000,
                    "products": [
                        {
                            "product": "enterprise_annuity",
                            "name_zh": "企业年金",
                            "name_en": "Enterprise annuity",
                            "balance_fen": 60000,
                            "vested_fen": 60000,
                            "unvested_fen": 0,
                            "accounts": [ACCOUNT_LINE],
                        }
                    ],
                }
            ],
            "balance_fen": 60000,
            "vested_fen": 60000,
            "unvested_fen": 0,
            "contributions_fen": 60000,
            "capped_contributions_fen": {},
            "returns_fen": 0,
            "fees_fen": 0,
            "benefits_fen": 0,
            "breaches": [],
            "duplicates": [],
            "missing": [
                {"about": "pillar:1", "code": "pillar_not_connected", "position": None},
                {"about": "pillar:3", "code": "no_account_known", "position": None},
            ],
        },
    },
    "ControlTotals": {
        "known_at": 3,
        "as_of": None,
        "trial_balance_fen": 0,
        "totals": [
            {
                "effective_on": None,
                "product": "enterprise_annuity",
                "kind": "contribution",
                "part": "employee",
                "lines": 1,
                "amount_fen": 20000,
            },
            {
                "effective_on": None,
                "product": "enterprise_annuity",
                "kind": "contribution",
                "part": "employer_vested",
                "lines": 1,
                "amount_fen": 40000,
            },
            {
                "effective_on": None,
                "product": "external",
                "kind": "contribution",
                "part": "contributions",
                "lines": 1,
                "amount_fen": -60000,
            },
        ],
        "missing": [],
    },
    "Health": {"status": "alive"},
    "StatusReading": {
        "head": 3,
        "recorded_at": "2025-01-25T12:00:01.250000+00:00",
        "database": "external",
        "server_version": "18.0",
        "sealed": 3,
        "seal_lag": 0,
        "seal_lag_s": 0.0,
        "projections": [
            {
                "name": "statements",
                "position": 3,
                "lag": 0,
                "lag_s": 0.0,
                "dead_letters": 0,
                "halted": None,
                "rebuilding": None,
            }
        ],
        "refusals": {"AccountUnknown": 1},
        "intake": [
            {
                "topic": "pension.commands",
                "partition": 0,
                "next_offset": 3,
                "end_offset": 4,
                "lag": 1,
                "member": "intake-1:7",
                "seen_at": "2025-01-25T12:00:01.250000+00:00",
            }
        ],
        "outlet": [
            {
                "stream": "events",
                "position": 2,
                "lag": 1,
                "lag_s": 0.2,
                "published_at": "2025-01-25T12:00:01.200000+00:00",
            }
        ],
        "refused_messages": {"MessageUnsigned": 1},
    },
    "Keys": {
        "origin": "pension-ledger.example/development",
        "receipts": "pension-ledger.example/development/receipts+7c5f04f9+AXm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk",
        "notary": "pension-ledger.example/development+e0e4b73d+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        "warning": "Compare these keys with ones that you got in another way.",
    },
    "AccessRecords": {
        "records": [
            {
                "access_id": "7d2f0f0e-3c1b-4f0a-9a52-5f1e3c0b7a11",
                "accessed_at": "2025-01-26T01:30:00.000125+00:00",
                "actor": "user:li",
                "token_id": "0c1d6f0b5f7a4b0f8a7f3b1d2e4c6a90",
                "action": "balance_sheet",
                "subject": "ea-core:1001",
                "question": {"as_of": "2025-01-25"},
                "purpose": "customer-service",
                "status": 200,
            }
        ],
        "next_after": None,
    },
    "Events": {
        "head": 3,
        "next_after": 3,
        "events": [
            {
                "position": 3,
                "type": "ContributionPosted",
                "effective_on": "2025-01-25",
                "recorded_at": "2025-01-25T12:00:01.250000+00:00",
                "command_id": "ea-core/V-1",
                "actor": "system:ea-core",
                "tags": ["account:EA-1"],
                "data": {
                    "account": "EA-1",
                    "amounts_fen": {"employee": 20000, "employer_vested": 40000},
                    "decided_at": "2025-01-25T20:00:00+08:00",
                    "effective_on": "2025-01-25",
                    "period": "2025-01",
                    "tax_treatment": "pre_tax",
                },
            }
        ],
    },
}
