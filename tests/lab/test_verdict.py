"""Who is named, and on what proof."""

from seawall.lab.cast import REPLICAS
from seawall.lab.verdict import _proved, _quarantined
from seawall.lab.watch import Watch
from seawall.node.clock import SystemClock
from seawall.node.feed import roster_of_terms
from seawall.protocol.codec import encode_genesis, log_id_of
from seawall.protocol.signatures import SigningKey
from seawall.replica.evidence import Offence
from seawall.replica.findings import Dissent
from seawall.replica.votes import Certificate, Vote, cast_vote
from tests.lab.plays import cast_of

CAST = cast_of(1)
ROSTER = roster_of_terms(log_id_of(encode_genesis(CAST.genesis)), 1, CAST.genesis.replicas)
TRUE, FALSE = b"t" * 32, b"f" * 32
LIAR = REPLICAS[2]


def vote(name: str, chain: bytes) -> Vote:
    key = SigningKey(CAST.replica_seeds[name])
    return cast_vote(key, roster=ROSTER, replica=name, first_seq=7, chains=chain)


MAJORITY = tuple(vote(name, TRUE) for name in REPLICAS[:2])
CERTIFICATE = Certificate(ROSTER.log_id, 1, 7, TRUE, MAJORITY)


def watch_with(*proofs: Dissent) -> Watch:
    watch = Watch(SystemClock(), lambda _: None)
    for proof in proofs:
        watch.notice(proof)
    return watch


def offence(chain: bytes, certificate: Certificate = CERTIFICATE) -> Offence:
    return Offence(LIAR, 1, 7, chain, certificate, 6, (), 0)


def test_a_wrong_vote_is_proof() -> None:
    proof = Dissent(LIAR, 7, FALSE, TRUE, (vote(LIAR, FALSE), *MAJORITY))
    watch = watch_with(proof)
    assert watch.is_named(LIAR)
    assert not watch.is_named(REPLICAS[0])
    assert _proved(watch, (), ROSTER) == (LIAR,)
    assert [each.reason for each in _quarantined(watch, (offence(FALSE),))] == ["dissent"]


def test_a_vote_of_somebody_else_is_no_proof() -> None:
    forged = Dissent(LIAR, 7, FALSE, TRUE, (vote(REPLICAS[0], FALSE), *MAJORITY))
    assert _proved(watch_with(forged), (), ROSTER) == ()


def test_who_finds_itself_outvoted_before_it_votes_is_named_by_its_evidence() -> None:
    watch = watch_with()
    assert _proved(watch, (offence(FALSE),), ROSTER) == (LIAR,)
    (named,) = _quarantined(watch, (offence(FALSE),))
    assert (named.name, named.seq, named.reason) == (LIAR, 7, "outvoted")


def test_evidence_that_proves_nothing_is_not_believed() -> None:
    one_vote = Certificate(ROSTER.log_id, 1, 7, TRUE, MAJORITY[:1])
    assert _proved(watch_with(), (offence(TRUE), offence(FALSE, one_vote)), ROSTER) == ()
