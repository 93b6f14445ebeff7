"""What stands around the machine, in words: the log's one order, votes, certificates, quarantine.

Votes are over the chain of the entries that the transcript has played so far.
"""

from collections.abc import Callable, Iterator

import msgspec

from seawall.clearing.machine import Machine
from seawall.protocol.codec import entry_digest, outcome_digest
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.replica.findings import Certified, Dissent, Equivocation, Finding, verify_dissent
from seawall.replica.logs.memory import MemoryStore
from seawall.replica.machine import Roster
from seawall.replica.tally import Tally
from seawall.replica.votes import cast_vote, verify_certificate
from tests.scenarios.stage import Stage
from tests.scenarios.verbs import Said


class Polls:
    """A log and a tally, beside the machine of a transcript."""

    def __init__(self, roster: Roster) -> None:
        self.store = MemoryStore()
        self.tally = Tally(roster)


def chains(stage: Stage, *, wrong: int = 0) -> list[bytes]:
    """Return the chain before entry 1 and after each; from entry `wrong` on of a bent outcome."""
    machine, link = Machine(), genesis_chain(stage.log_id)
    told = [link]
    for seq, payload in enumerate(stage.payloads, 1):
        outcome = machine.apply(seq, payload) + (b"\0" if seq == wrong else b"")
        link = next_chain(link, seq, entry_digest(payload), outcome_digest(outcome))
        told.append(link)
    return told


def chain(stage: Stage, said: Said) -> Iterator[str]:
    """`chain`: the chain after each entry; `wrong=3` bends the third outcome."""
    links = chains(stage, wrong=int(said.options.get("wrong", "0")))
    yield " → ".join(stage.names.digest(link) for link in links)


def vote(stage: Stage, said: Said) -> Iterator[str]:
    """`vote r1 2 4`: a replica signs what it has of entries 2 to 4; `wrong=3`, `signer=r2` lie."""
    name, first, last = said.words[0], int(said.words[1]), int(said.words[2])
    links = chains(stage, wrong=int(said.options.get("wrong", "0")))
    cast = cast_vote(
        stage.key(said.options.get("signer", name)),
        roster=_roster(stage),
        replica=name,
        first_seq=first,
        chains=b"".join(links[first : last + 1]),
    )
    tally = _polls(stage).tally
    for finding in tally.add(cast):
        yield _tell(finding, tally.roster)
    yield f"certified up to {tally.certified_seq}"


def certificate(stage: Stage, said: Said) -> Iterator[str]:
    """`certificate 3`: the proof of an entry; `without=1` leaves out so many votes."""
    tally = _polls(stage).tally
    found = tally.certificate_at(int(said.words[0]))
    if found is None:
        yield "none"
        return
    votes = found.votes[int(said.options.get("without", "0")) :]
    found = msgspec.structs.replace(found, votes=votes)
    wrong = verify_certificate(found, tally.roster)
    voters = " ".join(each.replica for each in votes)
    yield f"{stage.names.digest(found.chain)} by {voters}: {wrong or 'proven'}"


def append(stage: Stage, said: Said) -> Iterator[str]:
    """`append id text`: a message to the log."""
    message_id, payload = said.words
    told = _polls(stage).store.store(message_id, payload.encode())
    yield f"entry {told.seq}{' again' if told.duplicate else ''}"


def log(stage: Stage, said: Said) -> Iterator[str]:
    """`log`: what the log holds, in order."""
    for entry in _polls(stage).store.entries:
        yield f"{entry.seq}: {entry.payload.decode()}"


VOTING: dict[str, Callable[[Stage, Said], Iterator[str]]] = {
    "chain": chain,
    "vote": vote,
    "certificate": certificate,
    "append": append,
    "log": log,
}


def _polls(stage: Stage) -> Polls:
    if stage.polls is None:
        stage.polls = Polls(_roster(stage))
    assert isinstance(stage.polls, Polls)
    return stage.polls


def _roster(stage: Stage) -> Roster:
    log_id, epoch, replicas = stage.machine.replicas()
    keys = tuple((replica.name, replica.public_key) for replica in replicas)
    return Roster(log_id=log_id, epoch=epoch, keys=keys)


def _tell(finding: Finding, roster: Roster) -> str:
    kind = type(finding).__name__
    if isinstance(finding, Certified):
        return f"{kind} {finding.certificate.seq}"
    about = [getattr(finding, "replica", ""), str(getattr(finding, "seq", ""))]
    if isinstance(finding, Dissent):
        about.append("proven" if verify_dissent(finding, roster) is None else "unproven")
    elif not isinstance(finding, Equivocation):
        about.append(getattr(finding, "reason", ""))
    return " ".join(part for part in (kind, *about) if part)
