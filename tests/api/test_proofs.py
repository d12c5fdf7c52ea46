"""Receipts and proofs over HTTP: the numbers are the invariants of ledger/api/proofs.py and, where said, of ledger/seals.py."""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ledger.access import read_records
from ledger.api.answers import NDJSON
from ledger.api.proofs import FOR_EVER, PRIVATE_FOR_EVER
from ledger.api.tokens import Scope
from ledger.domain.leaves import leaf_hash
from ledger.domain.notes import InclusionProof, NoteInvalid, VerifierKey, open_checkpoint, open_note, open_receipt
from ledger.domain.tree import TILE_WIDTH, Hash, ProofInvalid, joined, split, subtrees, verify_consistency, whole
from ledger.notary import PUBLIC_KEY, seal_now
from ledger.seals import SealsBroken, entries
from tests.api.service import ORIGIN, RECEIPT_KEY, bearer, own, problem, served
from tests.attacks import as_superuser, fill
from tests.commands import contribute, open_account, register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ledger.database import Database
    from ledger.settings import Settings
    from tests.api.service import Service

NOBODY = {"X-Nothing": ""}
OPENING = [own(register("ea-core:1", "1")), own(open_account("ea-core:1", "E1", command_id="2"))]
RECEIPT_KEYS = [RECEIPT_KEY.verifier]
# What a lax reader would take for an address that there is.
SPELLINGS = """
    tile/0/0 tile/0/00 tile/0/0000 tile/0/x000/000.p/1 tile/0/000/000 tile/0/x000 tile/0/x0/000 tile/0/ tile/0/000/
    tile/0/000.p/0 tile/0/000.p/01 tile/0/000.p/256 tile/0/000.p/999 tile/0/000.p tile/0/000.p/ tile/0/000.p/+1 tile/0/000.p/1/
    tile/0/%20000.p/1 tile/0/-01 tile/0/٠٠٠.p/1 tile/0/000.p/١ tile/x/000.p/1 tile/8/000 tile/-1/000 tile/+0/000.p/1
    tile/0.0/000.p/1 tile/0/x001/x000/x000/x000/x000/000 tile/entries/0 tile/data/000.p/256 tile/0/000.p/1?size=1
    checkpoint/0 checkpoint/-1 checkpoint/+1 checkpoint/1.0 checkpoint/x checkpoint/9007199254740992 checkpoint/1_0
    checkpoint/%201 checkpoint/1?x=1 checkpoint?size=1 keys?x=1
"""


@pytest.fixture
def notary(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose notary is this test's own."""
    return settings.model_copy(update={"data_folder": tmp_path})


@pytest.fixture
def service(database: Database, notary: Settings) -> Iterator[Service]:
    with served(database, notary_key=notary.notary_files / PUBLIC_KEY) as running:
        yield running


@pytest.fixture
def seal(database: Database, notary: Settings) -> Callable[[], int]:
    """Let the notary seal all that is recorded; returns how many facts are sealed."""
    return lambda: seal_now(database, notary)


@pytest.fixture
def trusted(notary: Settings) -> Callable[[], list[VerifierKey]]:
    """The notary's key, as an auditor has it: from the notary's own folder, and not over the API."""
    return lambda: [VerifierKey.parse((notary.notary_files / PUBLIC_KEY).read_text())]


def tile_at(index: int, width: int = TILE_WIDTH) -> str:
    """As C2SP tlog-tiles spells it; written here once more."""
    digits = [f"{index % 1000:03}"]
    while index := index // 1000:
        digits.insert(0, f"x{index % 1000:03}")
    return "/".join(digits) + ("" if width == TILE_WIDTH else f".p/{width}")


def parted(body: bytes, length_bytes: int) -> list[bytes]:
    """The items of a bundle."""
    found = []
    while body:
        end = length_bytes + int.from_bytes(body[:length_bytes], "big")
        found.append(body[length_bytes:end])
        body = body[end:]
    return found


class TestReceipts:
    def test_one_turns_into_a_proof_that_is_checked_without_the_service(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        receipts = [
            service.post(OPENING).json()["receipt"],
            service.post(own(contribute("E1", 100, "3"))).json()["receipt"],
        ]
        lines = service.post_bytes(json.dumps(own(contribute("E1", 7, "4"))).encode(), NDJSON).text.splitlines()
        receipts.append(json.loads(lines[-1])["receipt"])
        seal()
        fill(service.database, 300)
        seal()
        proven = []
        for receipt in receipts:
            for position, leaf in open_receipt(receipt, RECEIPT_KEYS):
                for asked in ("", "?size=4"):
                    proof = InclusionProof.parse(service.get(f"/v1/proofs/{position}{asked}").text)
                    checkpoint = proof.verify(leaf, trusted())
                    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 4 if asked else 304)
                    with pytest.raises(ProofInvalid):
                        proof.verify(sha256(leaf).digest(), trusted())
                proven.append(position)
        assert proven == [1, 2, 3, 4]

    def test_one_is_signed_by_the_key_of_receipts_and_no_checkpoint_is(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        receipt = service.post(OPENING).json()["receipt"]
        seal()
        note = service.get("/v1/log/checkpoint").text
        with pytest.raises(NoteInvalid):
            open_note(receipt, trusted())
        with pytest.raises(NoteInvalid):
            open_note(note, RECEIPT_KEYS)
        assert open_note(receipt, RECEIPT_KEYS).split("\n")[:2] == ["pension-ledger/receipt/v1", ORIGIN]
        assert open_checkpoint(note, trusted()).size == 2

    def test_what_recorded_nothing_has_none(self, service: Service) -> None:
        service.post(OPENING)
        again = own(register("ea-core:1", "other"))
        found = service.post(again).json()
        assert (found["status"], found["first_position"], found["receipt"]) == ("accepted", None, None)
        refused = own(contribute("E9", 1, "9"))
        assert service.post([again, refused]).json()["receipt"] is None
        assert "receipt" not in problem(service.post(refused), 422, "command-refused")

    def test_a_repeat_gets_the_same_again_also_from_another_process(self, service: Service, database: Database) -> None:
        first = service.post(OPENING).json()["receipt"]
        assert service.post(OPENING).json()["receipt"] == first
        with served(database) as other:
            assert other.post(OPENING).json()["receipt"] == first
        alone = open_receipt(service.post(OPENING[1]).json()["receipt"], RECEIPT_KEYS)
        assert alone == open_receipt(first, RECEIPT_KEYS)[1:]

    def test_one_of_a_list_is_over_the_facts_that_stand_in_their_order(self, service: Service) -> None:
        listed = [*OPENING, own(contribute("E9", 1, "9")), own(contribute("E1", 5, "3")), OPENING[0]]
        found = open_receipt(service.post(listed).json()["receipt"], RECEIPT_KEYS)
        assert [position for position, _ in found] == [1, 2, 3, 1]


class TestTheKeys:
    def test_everybody_reads_them_with_the_warning(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        service.post(OPENING)
        seal()
        response = service.get("/v1/log/keys", caller=NOBODY)
        found = response.json()
        assert [VerifierKey.parse(found["receipts"])] == RECEIPT_KEYS
        assert [VerifierKey.parse(found["notary"])] == trusted()
        assert found["origin"] == ORIGIN
        assert found["warning"].startswith("Compare these keys with ones that you got in another way")
        assert response.headers["cache-control"] == "no-cache"

    def test_that_of_a_notary_who_never_ran_or_runs_elsewhere_is_null(self, service: Service, notary: Settings) -> None:
        assert service.get("/v1/log/keys").json()["notary"] is None
        notary.notary_files.mkdir(parents=True)
        (notary.notary_files / PUBLIC_KEY).write_bytes(b"\xffnothing")
        assert service.get("/v1/log/keys").json()["notary"] is None


class TestCheckpoints:
    def test_any_two_are_consistent(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        for facts in (1, 2, 253, 1, 300, 7):
            fill(service.database, facts)
            seal()
        sizes = [1, 3, 256, 257, 557, 564]
        notes = {size: service.get(f"/v1/log/checkpoint/{size}", caller=NOBODY) for size in sizes}
        assert {each.headers["cache-control"] for each in notes.values()} == {FOR_EVER}
        roots = {size: open_checkpoint(each.text, trusted()).root for size, each in notes.items()}
        for old in sizes:
            for new in sizes[sizes.index(old) :]:
                response = service.get(f"/v1/consistency/{old}/{new}")
                assert response.headers["cache-control"] == PRIVATE_FOR_EVER
                proof = InclusionProof.parse(
                    f"c2sp.org/tlog-proof@v1\nindex 0\n{response.text}\n{notes[new].text}"
                ).hashes
                verify_consistency(old, roots[old], new, roots[new], proof)
        last = service.get("/v1/log/checkpoint", caller=NOBODY)
        assert (last.text, last.headers["cache-control"]) == (notes[564].text, "no-cache")
        assert last.headers["content-type"] == "text/plain; charset=utf-8"

    def test_of_other_sizes_there_is_none(self, service: Service, seal: Callable[[], int]) -> None:
        fill(service.database, 3)
        seal()
        for path in ("/v1/log/checkpoint/2", "/v1/proofs/1?size=2", "/v1/consistency/2/3", "/v1/consistency/1/3"):
            response = service.get(path)
            assert problem(response, 404, "not-sealed")["sealed"] == 3
            assert "retry-after" not in response.headers, "it never will be"
        for path in ("/v1/log/checkpoint/4", "/v1/consistency/3/4", "/v1/proofs/4", "/v1/proofs/1?size=4"):
            response = service.get(path)
            assert problem(response, 404, "not-sealed")["sealed"] == 3
            assert response.headers["retry-after"] == "1"

    def test_backwards_nothing_is_consistent(self, service: Service) -> None:
        problem(service.get("/v1/consistency/3/2"), 400, "wrong-parameter")


class TestTiles:
    """C2SP tlog-tiles, as a client reads them that has nothing but a checkpoint and the address."""

    def root(self, service: Service, size: int) -> Hash:
        """The root of a size, out of tiles alone; each tile of a level is held against the level below."""
        levels: list[list[Hash]] = []
        count = size
        while count:
            level: list[Hash] = []
            for index in range(-(-count // TILE_WIDTH)):
                width = min(TILE_WIDTH, count - index * TILE_WIDTH)
                response = service.get(f"/v1/log/tile/{len(levels)}/{tile_at(index, width)}", caller=NOBODY)
                assert (response.status_code, response.headers["cache-control"]) == (200, FOR_EVER)
                assert response.headers["content-type"] == "application/octet-stream"
                hashes = split(response.content)
                assert len(hashes) == width
                level += hashes
            if levels:
                below = levels[-1]
                assert level == [whole(below[at : at + TILE_WIDTH]) for at in range(0, count * TILE_WIDTH, TILE_WIDTH)]
            levels.append(level)
            count //= TILE_WIDTH
        return joined([whole(levels[0][place << up : (place + 1) << up]) for up, place in subtrees(0, size)])

    def test_the_root_of_every_checkpoint_is_rebuilt_from_them(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        sizes = [1, 255, 256, 257, 512, 600, 769]
        for before, size in pairwise([0, *sizes]):
            fill(service.database, size - before)
            assert seal() == size
        for size in sizes:
            note = service.get(f"/v1/log/checkpoint/{size}", caller=NOBODY).text
            assert self.root(service, size) == open_checkpoint(note, trusted()).root, size

    def test_part_of_one_is_its_beginning_also_when_it_is_full(self, service: Service, seal: Callable[[], int]) -> None:
        fill(service.database, 300)
        seal()
        full = service.get("/v1/log/tile/0/000").content
        for width in (1, 2, 3, 17, 128, 254, 255):
            assert service.get(f"/v1/log/tile/0/000.p/{width}").content == full[: 32 * width]
        last = service.get("/v1/log/tile/0/001.p/44").content
        for width in (1, 31, 43):
            assert service.get(f"/v1/log/tile/0/001.p/{width}").content == last[: 32 * width]

    def test_of_more_than_65_536_facts_there_are_three_levels(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        fill(service.database, 70_000)
        size = seal()
        top = split(service.get("/v1/log/tile/2/000.p/1").content)
        middle = split(service.get("/v1/log/tile/1/000").content)
        assert top == [whole(middle)]
        width = size // TILE_WIDTH - TILE_WIDTH
        rest = split(service.get(f"/v1/log/tile/1/001.p/{width}").content)
        assert whole(split(service.get(f"/v1/log/tile/0/{tile_at(TILE_WIDTH + 3)}").content)) == rest[3]
        proof = InclusionProof.parse(service.get("/v1/proofs/66666").text)
        leaf = split(service.get(f"/v1/log/tile/0/{tile_at(66_665 // TILE_WIDTH)}").content)[66_665 % TILE_WIDTH]
        assert proof.verify(leaf, trusted()).size == size

    def test_what_is_not_sealed_yet_is_not_there_yet(self, service: Service, seal: Callable[[], int]) -> None:
        """Invariant 4."""
        fill(service.database, 300)
        paths = [
            "checkpoint",
            "tile/0/000",
            "tile/0/000.p/1",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/data/000.p/1",
        ]
        for path in paths:
            response = service.get(f"/v1/log/{path}")
            assert (problem(response, 404, "not-sealed")["sealed"], response.headers["retry-after"]) == (0, "1")
        seal()
        assert {service.get(f"/v1/log/{path}").status_code for path in paths} == {200}
        fill(service.database, 1)
        far = [
            "tile/0/001",
            "tile/0/001.p/45",
            "tile/0/002.p/1",
            "tile/1/000.p/2",
            "tile/1/000",
            "tile/7/x999/x999/x999/x999/999",
        ]
        for path in (*far, "tile/entries/001.p/45", "tile/data/x001/234"):
            assert problem(service.get(f"/v1/log/{path}"), 404, "not-sealed")["sealed"] == 300, path

    def test_another_spelling_is_none(self, service: Service, seal: Callable[[], int]) -> None:
        """Invariant 3."""
        fill(service.database, 1)
        seal()
        assert service.get("/v1/log/tile/0/000.p/1").status_code == 200
        for path in SPELLINGS.split():
            response = service.get(f"/v1/log/{path}")
            assert (response.status_code, response.json()["type"]) == (400, "/problems/wrong-parameter"), path

    @pytest.mark.parametrize(
        "path", ["/v1/log", "/v1/log/", "/v1/log/tile", "/v1/log/tile/0", "/v1/log/checkpoint/1/2"]
    )
    def test_other_addresses_are_none(self, service: Service, path: str) -> None:
        problem(service.get(path), 404, "unknown-route")

    @pytest.mark.parametrize(
        "path", ["/v1/proofs/0", "/v1/proofs/x", "/v1/proofs/+1", "/v1/proofs/1?size=x", "/v1/proofs/1?x=1"]
    )
    def test_a_position_is_a_number_from_one(self, service: Service, path: str) -> None:
        problem(service.get(path), 400, "wrong-parameter")


class TestWhatLiesUnderTheTiles:
    """Invariant 1."""

    def test_leaf_texts_give_the_hashes_and_data_those_in_the_texts(
        self, service: Service, seal: Callable[[], int]
    ) -> None:
        service.post(OPENING)
        fill(service.database, 298)
        seal()
        for index, width in ((0, TILE_WIDTH), (1, 44), (0, 2)):
            place = tile_at(index, width)
            hashes = split(service.get(f"/v1/log/tile/0/{place}").content)
            response = service.get(f"/v1/log/tile/entries/{place}")
            texts, datas = parted(response.content, 2), parted(service.get(f"/v1/log/tile/data/{place}").content, 4)
            assert [leaf_hash(text) for text in texts] == hashes
            assert [text.decode().split("\n")[-2] for text in texts] == [sha256(data).hexdigest() for data in datas]
            assert response.headers["cache-control"] == PRIVATE_FOR_EVER
        assert json.loads(datas[1])["account"] == "E1"

    def test_only_an_auditor_reads_them_and_leaves_a_record(self, service: Service, seal: Callable[[], int]) -> None:
        fill(service.database, 300)
        seal()
        for kind, action in (("entries", "entries"), ("data", "entries_data")):
            path = f"/v1/log/tile/{kind}/001.p/44"
            for scope in set(Scope) - {Scope.AUDITOR}:
                problem(service.get(path, caller=bearer(scope)), 403, "scope-missing")
            problem(service.get(path, caller=bearer(Scope.AUDITOR, purpose=None)), 400, "purpose-missing")
            assert service.get(path, caller=bearer(Scope.AUDITOR, purpose="audit")).status_code == 200
            page = read_records(
                service.database, subject="257-300", actor=None, since=None, until=None, after=None, limit=500
            )
            assert [(each.action, each.purpose, each.status) for each in page.records][:1] == [(action, "audit", 200)]


class TestTampering:
    """Invariant 4, and of ledger/seals.py invariant 3: what does not fit the checkpoint is an error and no answer."""

    EVERYTHING = ("/v1/proofs/5", "/v1/log/tile/0/000", "/v1/log/tile/entries/000", "/v1/log/tile/data/000.p/7")
    PARTIAL = (
        "/v1/proofs/520",
        "/v1/log/tile/0/002.p/9",
        "/v1/log/tile/entries/002.p/20",
        "/v1/log/tile/data/002.p/88",
    )

    @pytest.mark.parametrize(
        ("statement", "paths"),
        [
            ("UPDATE event SET data = '{}' WHERE position = 9", ("/v1/log/tile/entries/000", "/v1/log/tile/data/000")),
            ("UPDATE event SET data = '{}' WHERE position = 513", PARTIAL),
            ("UPDATE event SET actor = E'a\\nb' WHERE position = 514", PARTIAL),
            ("UPDATE event SET recorded_at = recorded_at - interval '1 day' WHERE position = 516", PARTIAL),
            ("DELETE FROM event WHERE position > 510", PARTIAL),
            ("DELETE FROM event WHERE position = 515", PARTIAL),
            ("UPDATE tile SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1) WHERE index = 0", EVERYTHING),
            ("UPDATE tile SET root = sha256(root) WHERE index = 0", ("/v1/proofs/300", "/v1/log/tile/1/000.p/1")),
            ("UPDATE tile SET root = sha256(root) WHERE index = 1", EVERYTHING),
            ("DELETE FROM tile", ("/v1/proofs/520", "/v1/log/tile/1/000.p/2")),
            (
                "UPDATE checkpoint SET root = sha256(root)",
                ("/v1/log/checkpoint", "/v1/log/checkpoint/600", *EVERYTHING),
            ),
            ("UPDATE checkpoint SET note = replace(note, '600', '601')", ("/v1/log/checkpoint", *PARTIAL)),
            ("UPDATE checkpoint SET note = 'x'", ("/v1/log/checkpoint", "/v1/consistency/300/600", *PARTIAL)),
            ("UPDATE tile SET root = sha256(root) WHERE index = 0", ("/v1/consistency/300/600",)),
        ],
    )
    def test_by_a_superuser_gets_no_proof(
        self, service: Service, seal: Callable[[], int], statement: str, paths: tuple[str, ...]
    ) -> None:
        for _ in range(2):
            fill(service.database, 300)
            seal()
        assert {service.get(path).status_code for path in paths} == {200}
        as_superuser(service.database, statement)
        for path in paths:
            response = service.get(path)
            assert problem(response, 500, "seals-broken")["detail"].startswith("Nothing was given out")

    def test_with_the_facts_alone_leaves_the_tiles_as_they_were_sealed(
        self, service: Service, seal: Callable[[], int], trusted: Callable[[], list[VerifierKey]]
    ) -> None:
        """A receipt is proven from the tile, whatever became of the fact; that the fact was changed shows in its leaf."""
        receipt = service.post(OPENING).json()["receipt"]
        fill(service.database, 300)
        seal()
        as_superuser(service.database, "UPDATE event SET data = '{}' WHERE position = 2")
        ((_, _), (position, leaf)) = open_receipt(receipt, RECEIPT_KEYS)
        assert InclusionProof.parse(service.get(f"/v1/proofs/{position}").text).verify(leaf, trusted()).size == 302
        with service.database.connection() as connection, pytest.raises(SealsBroken):
            entries(connection, 0, 2)


def test_the_state_says_how_far_is_sealed(service: Service, seal: Callable[[], int]) -> None:
    def state() -> tuple[Any, ...]:
        found = service.get("/v1/status").json()
        text = service.get("/metrics").text
        assert f"ledger_sealed_position {found['sealed']}.0" in text
        assert ("ledger_seal_lag_seconds 0.0\n" in text) == (found["seal_lag"] == 0)
        return found["sealed"], found["seal_lag"], found["seal_lag_s"] > 0

    assert state() == (0, 0, False)
    fill(service.database, 5)
    assert state() == (0, 5, True)
    seal()
    assert state() == (5, 0, False)
    fill(service.database, 3)
    assert state() == (5, 3, True)
