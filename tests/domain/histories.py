"""Small random histories: six identities and six accounts over two years, everything that can happen to them.

A history is made by its seed alone, so that one which breaks an invariant can be made again.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from itertools import combinations
from random import Random
from typing import Any, NamedTuple

from ledger.domain import commands as c
from ledger.domain.decider import Decision, State
from ledger.domain.events import ENTRIES
from tests.domain import asking
from tests.domain.asking import CP, EA, OA, PP, RA
from tests.domain.scenario import Books
from tests.scale import scaled

# In a good six of ten there are still two persons to merge and part: more than 10,000 then say something of that, in a soak.
HISTORIES = scaled(16_400)
CHUNKS = 40
STEPS = 20

SIDS = [f"{system}:1" for system in ("bank", "cp", "ea", "life", "oa", "sec")]
PERSONAL = ["A1", "A2", "A3"]
ACCOUNTS = {"A1": PP, "A2": PP, "A3": PP, "A4": EA, "A5": EA, "A6": OA, "A7": RA, "A8": CP}
DAYS = ["2025-02-03", "2025-07-01", "2025-12-31", "2026-01-01", "2026-03-02", "2026-10-09"]
PART = {PP: "own", EA: "employee", OA: "employee", RA: "employee", CP: "locked"}
CONDITION = {
    PP: ("PP_W1_AGE", "PP_W4_MEDICAL"),
    EA: ("EA_DISABLED",),
    OA: ("OA_RETIRED",),
    RA: ("EA_DEATH",),
    CP: ("CP_EARLY_RELEASE",),
}
REASON = {PP: "bank_change", EA: "job_change", OA: "job_change", RA: "job_change", CP: "product_rules"}

IDENTITY_COMMANDS = (
    c.LinkIdentities,
    c.MergeIdentities,
    c.UnmergeIdentities,
    c.DeclareDistinct,
    c.WithdrawDistinct,
)


def seeds(chunk: int) -> range:
    """The seeds of one chunk of the histories."""
    return range(chunk, HISTORIES, CHUNKS)


class Step(NamedTuple):
    """One command of a history, what was decided, and what was remembered before it, after so many facts."""

    command: c.Command
    decision: Decision
    before: Mapping[str, State]
    facts_before: int


class History:
    """Books that grow by random commands."""

    def __init__(self, seed: int) -> None:
        """Register identities and open accounts, in an order of this seed's own."""
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - to be made again from its seed
        self.steps: list[Step] = []
        self.books = Books()
        self.number = 0
        sids = self.random.sample(SIDS, self.random.randint(3, len(SIDS)))
        for sid in sids:
            self.books.post(self.named(asking.register(sid)))
        others = self.random.sample([account for account in ACCOUNTS if account not in PERSONAL], 3)
        owners = [*self.random.sample(sids, 3), *self.random.choices(sids, k=3)]
        for account, sid in zip([*PERSONAL, *others], owners, strict=True):
            self.books.post(self.named(asking.open_account(account, sid, ACCOUNTS[account])))
            if ACCOUNTS[account] != RA:
                fen = self.random.choice([100_000, 400_000, 700_000, 1_100_000])
                self.books.post(self.named(asking.contribute(account, **_amounts(ACCOUNTS[account], fen))))
        self.sids = sids
        self.accounts = list(self.books.of("account"))

    def named(self, command: c.Command) -> c.Command:
        """Under an id that depends on the history alone."""
        self.number += 1
        return command.model_copy(update={"command_id": f"h:{self.number}"})

    def commands(self, steps: int, *, identity: bool = True) -> Iterator[c.Command]:
        """Random commands, each made from the books as they then stand; some will be refused."""
        makers = [*MONEY, *IDENTITY] if identity else MONEY
        for _ in range(steps):
            yield self.named(self.random.choice(makers)(self))

    def run(self, steps: int = STEPS) -> "History":
        """Post so many random commands."""
        for command in self.commands(steps):
            # States never change, so a copy of the dictionary is a picture of all of them.
            before, size = self.books.memories.copy(), len(self.books.facts)
            self.steps.append(Step(command, self.books.post(command), before, size))
        return self

    def fork(self) -> "History":
        """The same history, to be continued without changing this one."""
        forked = copy(self)
        forked.random = Random(self.seed)  # noqa: S311 - as above
        forked.accounts = self.accounts.copy()
        forked.books = Books()
        forked.books.memories = self.books.memories.copy()
        forked.books.facts = self.books.facts.copy()
        return forked

    def product(self, account: str) -> str:
        """The product of an account that is open or about to be."""
        return ACCOUNTS[account.partition(".")[0]]

    def person(self) -> list[str]:
        """The members of one person, of those with several identities if there are any."""
        persons = [state["members"] for state in self.books.of("identity").values()]
        composed = [members for members in persons if len(members) > 1]
        return self.random.choice(composed or persons)

    def join(self) -> bool:
        """Merge two persons, if any two may be merged."""
        pairs = list(combinations(self.sids, 2))
        self.random.shuffle(pairs)
        for sid, other in pairs:
            if other not in self.books.memories["identity:" + sid]["members"]:
                command = self.named(asking.merge((sid, other), on=self.random.choice(DAYS)))
                if isinstance(self.books.post(command), list):
                    return True
        return False

    def merging(self) -> c.Command:
        """A customer's merge of two random identities."""
        pair = self.random.sample(self.sids, 2)
        return self.named(asking.merge((pair[0], pair[1]), on=self.random.choice(DAYS)))


def _amounts(product: str, fen: int) -> dict[str, Any]:
    """An amount in the part of the product that all these histories use."""
    return {PART[product]: fen}


def _contribute(h: History) -> c.Command:
    account = h.random.choice([*h.accounts, *PERSONAL])
    fen = h.random.choice([1, 100_000, 400_000, 700_000, 1_100_000])
    if h.product(account) == EA and h.random.random() < 0.5:
        return asking.contribute(account, on=h.random.choice(DAYS), employee=fen, employer_unvested=fen)
    return asking.contribute(account, on=h.random.choice(DAYS), **_amounts(h.product(account), fen))


def _credit(h: History) -> c.Command:
    account = h.random.choice(h.accounts)
    amounts = {PART[h.product(account)]: h.random.choice([1, 50_000])}
    return asking.credit(account, gains=amounts) if h.random.random() < 0.7 else asking.credit(account, losses=amounts)


def _charge(h: History) -> c.Command:
    account = h.random.choice(h.accounts)
    return asking.charge(account, **_amounts(h.product(account), h.random.choice([1, 70_000])))


def _vest(h: History) -> c.Command:
    annuities = [account for account in h.accounts if h.product(account) == EA]
    return asking.vest(h.random.choice(annuities or h.accounts), h.random.choice([1, 100_000]))


def _transfer(h: History) -> c.Command:
    left = [a for a in h.accounts if h.product(a) != PP or "replaced_by" in h.books.memories["account:" + a]]
    source = h.random.choice(left)
    product = h.product(source)
    sid = h.books.memories["account:" + source]["sid"]
    members = h.books.memories["identity:" + sid]["members"]
    near = [a for a in h.accounts if a != source and h.books.memories["account:" + a]["sid"] in members]
    target = h.books.memories["account:" + source].get("replaced_by") or h.random.choice(near or h.accounts)
    amounts = _amounts(product, h.random.choice([1, 100_000]))
    return asking.transfer(source, target, reason=REASON[product], **amounts)


def _pay(h: History) -> c.Command:
    account = h.random.choice(h.accounts)
    condition = h.random.choice(CONDITION[h.product(account)])
    return asking.pay(account, condition, h.random.choice([10, 100_000]), tax_fen=h.random.choice([0, 3]))


def _status(h: History) -> c.Command:
    frozen = [account for account in h.accounts if h.books.memories["account:" + account]["status"] == "frozen"]
    if frozen:
        return asking.unfreeze(frozen[0])
    maker: Callable[[str], c.Command] = h.random.choice([asking.freeze, asking.close])
    return maker(h.random.choice(h.accounts))


def _profile(h: History) -> c.Command:
    """What a person says of herself: now and then she withdraws it."""
    sid = h.random.choice(h.sids)
    if h.random.random() < 0.3:
        return asking.withdraw_profile(sid)
    income = h.random.choice(["under_60k", "60k_to_120k"])
    return asking.declare_profile(sid, income_band=income, on=h.random.choice(DAYS))


def _replace(h: History) -> c.Command:
    """A change of bank of one personal pension; the new account has the old one's name with a number behind."""
    account = h.random.choice([account for account in h.accounts if h.product(account) == PP])
    new = f"{account.partition('.')[0]}.{h.number}"
    state = h.books.memories["account:" + account]
    command = asking.open_account(new, state["sid"], state["product"], replaces=account, on=h.random.choice(DAYS))
    if isinstance(h.books.decide(command), list):
        h.accounts.append(new)
    return command


def _reverse(h: History) -> c.Command:
    entries = [
        n
        for n, fact in enumerate(h.books.facts, 1)
        if type(fact).__name__ in ENTRIES and (f"entry:{n}" not in h.books.memories or h.random.random() < 0.1)
    ]
    return asking.reverse(h.random.choice(entries or [1]))


def _link(h: History) -> c.Command:
    pair = h.random.sample(h.sids, 2)
    return asking.link((pair[0], pair[1]), on=h.random.choice(DAYS))


def _merge(h: History) -> c.Command:
    return h.merging()


def _unmerge(h: History) -> c.Command:
    target: list[list[str]] = [[], []]
    for sid in h.person():
        h.random.choice(target).append(sid)
    parts = [part for part in target if part]
    return asking.unmerge(
        *parts, cause=h.random.choice(["false_match", "fraud", "id_correction"]), on=h.random.choice(DAYS)
    )


def _declare(h: History) -> c.Command:
    return asking.declare_distinct(*h.random.sample(h.sids, 2))


def _withdraw(h: History) -> c.Command:
    apart = [(sid, other) for sid, state in h.books.of("identity").items() for other in state["distinct"].values()]
    return asking.withdraw_distinct(*h.random.choice(apart)) if apart else h.merging()


MONEY: list[Callable[[History], c.Command]] = [
    *[_contribute] * 10, _credit, _charge, _vest, _transfer, _transfer, _pay, _status, _replace, _profile, *[_reverse] * 4,
]  # fmt: skip
IDENTITY: list[Callable[[History], c.Command]] = [
    _link, *[_merge] * 3, *[_unmerge] * 3, _declare, *[_withdraw] * 2,
]  # fmt: skip
