"""The log read back against the counterfoils: each kind of loss is seen for what it is."""

import pytest

from seawall.lab.cast import DESKS, SENDER_IDS
from seawall.lab.counterfoils import Counterfoil, Counterfoils
from seawall.lab.readback import Kept, Replayed, archive, compare, cut_segments, replay
from seawall.node.feed import roster_of_terms
from seawall.node.receipts import Receipt, Refused
from seawall.protocol.codec import SignedBatch, decode_payload, encode_batch, entry_digest
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Batch, Tick, Withdraw
from seawall.protocol.signatures import SigningKey
from seawall.replica.archive import Archive, ArchiveFault
from seawall.replica.disk import MemoryDisk
from seawall.replica.logs.memory import MemoryLog
from seawall.replica.votes import Certificate, cast_vote
from tests.lab.plays import cast_of, played

ENTRIES = 60


@pytest.fixture(name="payloads")
def make_payloads() -> list[bytes]:
    return [payload for payload, _ in played(1).entries[:ENTRIES]]


async def read_back(payloads: list[bytes]) -> Replayed:
    log = MemoryLog()
    for number, payload in enumerate(payloads):
        await log.append(f"m{number}", payload)
    return await replay(log, len(payloads))


def foils_of(payloads: list[bytes]) -> list[Counterfoil]:
    """Return what honest clients would hold."""
    foils = Counterfoils()
    for seq, payload in enumerate(payloads, 1):
        content = decode_payload(payload)
        if isinstance(content, SignedBatch):
            batch = content.batch
            count = len(batch.commands)
            place = Receipt(seq, 0, count, batch.sender_id, batch.number, entry_digest(payload))
            foils.asked(seq, batch.sender_id, batch.commands)
            foils.acknowledged(seq, place)
    return list(foils.by_ticket.values())


def signed(number: int, *commands: Tick | Withdraw) -> bytes:
    content = decode_payload(played(1).entries[1][0])
    assert isinstance(content, SignedBatch)
    sender = SENDER_IDS[DESKS[0]]
    batch = Batch(content.batch.log_id, sender, number, commands)
    return encode_batch(batch, SigningKey(cast_of(1).sender_seeds[sender]))


async def test_an_honest_log_keeps_everything(payloads: list[bytes]) -> None:
    replayed = await read_back(payloads)
    kept = compare(replayed, foils_of(payloads))
    assert kept == Kept(kept.acknowledged, kept.acknowledged, 0, 0, 0, 0)
    assert kept.acknowledged >= ENTRIES - 1
    assert replayed.invariants_checked > 0


async def test_a_command_that_the_log_never_held_is_lost(payloads: list[bytes]) -> None:
    replayed = await read_back(payloads)
    foils = foils_of(payloads)
    ghost = Counterfoils()
    ghost.asked(1, 5, (Tick(77),))
    ghost.acknowledged(1, Receipt(9, 0, 1, 5, 1, bytes(32)))
    kept = compare(replayed, [*foils, *ghost.by_ticket.values()])
    assert (kept.lost, kept.misplaced) == (1, 1)
    assert kept.applied == kept.acknowledged - 1


async def test_an_entry_cut_from_the_log_is_lost(payloads: list[bytes]) -> None:
    foils = foils_of(payloads)
    cut = await read_back(payloads[:-1])
    count = len(foils[-1].prints)
    kept = compare(cut, foils)
    assert (kept.lost, kept.misplaced) == (count, count)


async def test_the_same_batch_twice_is_applied_once(payloads: list[bytes]) -> None:
    replayed = await read_back([*payloads, payloads[-1]])
    assert replayed.applied[-2:] == (True, False)
    assert compare(replayed, foils_of(payloads)).doubled == 0


async def test_the_same_command_under_two_numbers_is_doubled(payloads: list[bytes]) -> None:
    # A desk's batches so far, then one command signed twice though it was asked for once.
    ours = [
        content.batch.number
        for content in map(decode_payload, payloads)
        if isinstance(content, SignedBatch) and content.batch.sender_id == SENDER_IDS[DESKS[0]]
    ]
    number = max(ours, default=0) + 1
    twice = [signed(number, Withdraw(1, 0, 5, 1)), signed(number + 1, Withdraw(1, 0, 5, 1))]
    foils = foils_of([*payloads, twice[0]])
    replayed = await read_back([*payloads, *twice])
    assert replayed.applied[-2:] == (True, True)
    kept = compare(replayed, foils)
    assert (kept.lost, kept.doubled) == (0, 1)


async def test_a_receipt_for_another_place_is_misplaced(payloads: list[bytes]) -> None:
    replayed = await read_back(payloads)
    foils = foils_of(payloads)
    assert foils[3].receipt is not None
    foils[3].receipt = foils[4].receipt
    kept = compare(replayed, foils)
    assert (kept.lost, kept.misplaced) == (0, len(foils[3].prints))


async def test_what_was_refused_for_certain_was_not_asked(payloads: list[bytes]) -> None:
    replayed = await read_back(payloads)
    foils = Counterfoils()
    foils.asked(1, 5, (Tick(77),))
    foils.refused(1, Refused(Reject.BACKLOG, "log"))
    foils.asked(2, 5, (Tick(78),))
    foils.refused(2, Refused(Reject.UNKNOWN_OUTCOME, "log"))
    kept = compare(replayed, [*foils_of(payloads), *foils.by_ticket.values()])
    assert (kept.lost, kept.unknown) == (0, 1)


async def test_the_archive_proves_the_log_and_notices_a_wrong_outcome(
    payloads: list[bytes],
) -> None:
    replayed = await read_back(payloads)
    cast = cast_of(1)
    content = decode_payload(payloads[1])
    assert isinstance(content, SignedBatch)
    roster = roster_of_terms(content.batch.log_id, 1, cast.genesis.replicas)
    votes = tuple(
        cast_vote(
            SigningKey(cast.replica_seeds[name]),
            roster=roster,
            replica=name,
            first_seq=ENTRIES,
            chains=replayed.chain,
        )
        for name, _ in roster.keys[:2]
    )
    certificate = Certificate(roster.log_id, 1, ENTRIES, replayed.chain, votes)
    segments = cut_segments(replayed, {ENTRIES: certificate})
    kept = Archive(MemoryDisk())
    await archive(segments, kept)
    assert (await kept.verify({1: roster})).seq == ENTRIES
    altered = list(replayed.records)
    altered[30] = altered[31]
    wrong = Replayed(tuple(altered), replayed.applied, replayed.chain, replayed.state_digest, 1)
    spoiled = Archive(MemoryDisk())
    await archive(cut_segments(wrong, {ENTRIES: certificate}), spoiled)
    with pytest.raises(ArchiveFault, match="certificate"):
        await spoiled.verify({1: roster})


async def test_the_same_words_of_another_sender_do_not_count(payloads: list[bytes]) -> None:
    foils = foils_of(payloads)
    ghost = Counterfoils()
    content = decode_payload(payloads[-1])
    assert isinstance(content, SignedBatch)
    other = content.batch.sender_id + 1
    ghost.asked(1, other, content.batch.commands)
    ghost.acknowledged(1, Receipt(ENTRIES, 0, 1, other, 1, bytes(32)))
    kept = compare(await read_back(payloads), [*foils, *ghost.by_ticket.values()])
    assert kept.lost == len(content.batch.commands)
