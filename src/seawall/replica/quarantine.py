"""Quarantine: the way of an outvoted replica back to voting, and when there is none.

voting → outvoted → restoring → catching up → voting; after `OFFENCES_MAX` offences → out.
"""

from enum import Enum

import msgspec

OFFENCES_MAX = 3
"""A replica outvoted this often stays out until an operator has looked at its machine."""


class Phase(Enum):
    """What a replica is doing; it signs votes and answers readers only while voting."""

    VOTING = "voting"
    OUTVOTED = "outvoted"
    RESTORING = "restoring"
    CATCHING_UP = "catching_up"
    OUT = "out"


class Standing(msgspec.Struct, frozen=True):
    """Where a replica stands; `voted_seq` is the newest entry it signed before it was outvoted."""

    phase: Phase = Phase.VOTING
    offences: int = 0
    offence_seq: int = 0
    voted_seq: int = 0


def resume(*, offences: int, offence_seq: int, voted_seq: int, settled: bool) -> Standing:
    """Return the standing of a restarted replica from what it kept of its past.

    A replica that had rejoined votes at once: after a stop of the whole house somebody must.
    """
    phase = Phase.VOTING if settled else Phase.RESTORING
    if offences >= OFFENCES_MAX:
        phase = Phase.OUT
    return Standing(phase=phase, offences=offences, offence_seq=offence_seq, voted_seq=voted_seq)


def outvote(standing: Standing, *, seq: int, voted_seq: int) -> Standing:
    """Return the standing after a majority certified another chain at `seq`."""
    assert standing.phase in (Phase.VOTING, Phase.CATCHING_UP)
    return Standing(
        phase=Phase.OUTVOTED,
        offences=standing.offences + 1,
        offence_seq=seq,
        voted_seq=max(standing.voted_seq, voted_seq),
    )


def drop_state(standing: Standing) -> Standing:
    """Return the standing once the evidence is kept: restore, or stay out for good."""
    assert standing.phase is Phase.OUTVOTED
    phase = Phase.OUT if standing.offences >= OFFENCES_MAX else Phase.RESTORING
    return msgspec.structs.replace(standing, phase=phase)


def begin_catch_up(standing: Standing) -> Standing:
    """Return the standing once a certified snapshot, or the empty state, is in place."""
    assert standing.phase is Phase.RESTORING
    return msgspec.structs.replace(standing, phase=Phase.CATCHING_UP)


def rejoin(standing: Standing, *, certified_seq: int, agrees: bool) -> Standing:
    """Return the standing after a look at the newest certificate.

    Parameters
    ----------
    agrees : whether the replica's own chain at `certified_seq` is the certified one

    Notes
    -----
    Nothing that was signed before the quarantine is signed anew: an honest replica never puts
    its name to two chains of one entry. So the certificate must be newer than every old vote.
    """
    if standing.phase is not Phase.CATCHING_UP:
        return standing
    if not agrees:
        return standing
    if certified_seq <= standing.voted_seq:
        return standing
    return msgspec.structs.replace(standing, phase=Phase.VOTING)
