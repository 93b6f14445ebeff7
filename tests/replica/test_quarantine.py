"""The way back from quarantine, step by step, and which steps there are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.protocol.digest import digest
from seawall.replica.disk import MemoryDisk
from seawall.replica.evidence import MAGIC, EvidenceStore, Offence, evidence_name
from seawall.replica.quarantine import (
    OFFENCES_MAX,
    Phase,
    Standing,
    begin_catch_up,
    drop_state,
    outvote,
    rejoin,
    resume,
)
from seawall.replica.sealed import seal, unseal
from seawall.replica.votes import Certificate
from tests.replica.virtual import play


def restored_at(seq: int, voted_seq: int) -> Standing:
    return begin_catch_up(drop_state(outvote(Standing(), seq=seq, voted_seq=voted_seq)))


def test_the_whole_way_round() -> None:
    standing = outvote(Standing(), seq=40, voted_seq=44)
    assert standing == Standing(Phase.OUTVOTED, 1, 40, 44)
    standing = drop_state(standing)
    assert standing.phase is Phase.RESTORING
    standing = begin_catch_up(standing)
    assert standing.phase is Phase.CATCHING_UP
    standing = rejoin(standing, certified_seq=45, agrees=True)
    assert standing == Standing(Phase.VOTING, 1, 40, 44)


def test_nobody_rejoins_with_another_chain_or_by_signing_anew_what_it_signed_before() -> None:
    waiting = restored_at(40, 44)
    assert rejoin(waiting, certified_seq=45, agrees=False) is waiting
    assert rejoin(waiting, certified_seq=44, agrees=True) is waiting
    assert rejoin(waiting, certified_seq=45, agrees=True).phase is Phase.VOTING


def test_a_second_offence_keeps_the_newest_old_vote_in_mind() -> None:
    standing = outvote(restored_at(40, 44), seq=42, voted_seq=0)
    assert standing.voted_seq == 44
    assert standing.offences == 2


def test_after_the_last_offence_there_is_no_way_back() -> None:
    standing = Standing(offences=OFFENCES_MAX - 1)
    standing = drop_state(outvote(standing, seq=9, voted_seq=9))
    assert standing.phase is Phase.OUT
    assert rejoin(standing, certified_seq=99, agrees=True) is standing
    with pytest.raises(AssertionError):
        begin_catch_up(standing)


@given(
    st.sampled_from(Phase),
    st.sampled_from(("outvote", "drop", "catch_up")),
)
def test_steps_out_of_order_are_bugs(phase: Phase, step: str) -> None:
    allowed = {
        "outvote": (Phase.VOTING, Phase.CATCHING_UP),
        "drop": (Phase.OUTVOTED,),
        "catch_up": (Phase.RESTORING,),
    }
    standing = Standing(phase=phase)

    def take() -> Standing:
        if step == "outvote":
            return outvote(standing, seq=1, voted_seq=1)
        return drop_state(standing) if step == "drop" else begin_catch_up(standing)

    if phase in allowed[step]:
        assert take().phase is not phase
    else:
        with pytest.raises(AssertionError):
            take()


def test_a_restart_remembers() -> None:
    known = {"offence_seq": 5, "voted_seq": 7}
    assert resume(offences=0, offence_seq=0, voted_seq=0, settled=True) == Standing()
    assert resume(offences=1, settled=True, **known).phase is Phase.VOTING
    assert resume(offences=1, settled=False, **known).phase is Phase.RESTORING
    assert resume(offences=OFFENCES_MAX, settled=True, **known).phase is Phase.OUT


def offence(index: int, seq: int) -> Offence:
    certificate = Certificate(log_id=bytes(32), epoch=1, seq=seq, chain=bytes(32), votes=())
    return Offence(
        replica="a",
        index=index,
        seq=seq,
        chain=bytes([1]) * 32,
        certificate=certificate,
        voted_seq=seq + 4,
        votes=(),
        at_ns=0,
    )


def test_evidence_survives_and_is_settled() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        store = EvidenceStore(disk, replica="a")
        assert await store.standing() == Standing()
        await store.keep(offence(1, 40))
        assert await EvidenceStore(disk, replica="a").standing() == Standing(
            Phase.RESTORING, 1, 40, 44
        )
        assert await EvidenceStore(disk, replica="b").standing() == Standing()
        await store.settle()
        assert await store.standing() == Standing(Phase.VOTING, 1, 40, 44)
        await store.keep(offence(2, 60))
        assert await store.standing() == Standing(Phase.RESTORING, 2, 60, 64)

    play(scene())


@pytest.mark.parametrize("body", [b"\x99\xa1\xff" + b"\x01" * 8, b"\x90", b"", b"\xc1", b"\x01"])
def test_a_file_that_somebody_made_up_is_malformed_and_nothing_worse(body: bytes) -> None:
    # With a digest that fits, for anybody can compute one; the first holds a name in no UTF-8.
    whole = MAGIC + b"\x01" + body
    made_up = whole + digest(whole, person=b"seawall/sealed")
    assert isinstance(unseal(MAGIC, Offence, made_up), str)


def test_a_later_version_and_another_kind_of_file_are_told_apart() -> None:
    written = seal(MAGIC, offence(1, 40))
    assert unseal(MAGIC, Offence, written) == offence(1, 40)
    body = MAGIC + b"\x02" + written[9:-32]
    later = body + digest(body, person=b"seawall/sealed")
    assert unseal(MAGIC, Offence, later) == "written by a later version"
    assert unseal(b"SWOTHER\n", Offence, written) == "another kind of file"


def test_evidence_that_rotted_still_counts() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        store = EvidenceStore(disk, replica="a")
        for index in range(1, OFFENCES_MAX + 1):
            await store.keep(offence(index, 10 * index))
        name = evidence_name("a", 2)
        disk.files[name] = disk.files[name][:-1]
        assert (await store.standing()).phase is Phase.OUT

    play(scene())
