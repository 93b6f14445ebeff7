"""The checker: reads what really happened and says valid, invalid with a witness, or unknown."""

import hashlib
from collections import Counter

from seawall.lab.charter import REPLICAS
from seawall.lab.desk import Request
from seawall.lab.stations import GatewayStation, ReplicaStation, Site, Station
from seawall.lab.venue import Venue
from seawall.node.wiring import ClearingMachine
from seawall.oversight.auditor import Auditor
from seawall.protocol.codec import (
    SignedBatch,
    decode_outcome,
    decode_payload,
    encode_any,
    entry_digest,
    outcome_digest,
    unpack_int64,
)
from seawall.protocol.codes import Reject
from seawall.protocol.commands import ReportEffect
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.protocol.events import (
    AccountsMoved,
    AccountState,
    CaseEnd,
    EntryRefused,
    HaltStarted,
    LiquidationEnded,
    Outcome,
    Rejected,
    Repeated,
    ShortfallFound,
)
from seawall.protocol.signatures import verify
from seawall.replica.assembly import Released
from seawall.replica.machine import Roster
from seawall.replica.votes import Certificate, digest_vote

MAJORITY = len(REPLICAS) // 2 + 1
ROSTER_OF = ClearingMachine().roster_of
ENTRIES_MIN = 20
"""Below this nothing happened that would be worth a verdict."""


class History:
    """What an outsider saw of one run: outcomes in order with their certificates, and remarks.

    Attributes
    ----------
    outcomes, chains : certified outcome of entry i + 1, and the chain after it, at index i
    witnesses : against the run, the first one first
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.outcomes: list[bytes] = []
        self.witnesses: list[str] = []
        self.states: Counter[str] = Counter()
        self.rosters = {site.roster.epoch: site.roster}
        self.chain = genesis_chain(site.roster.log_id)
        self.chains: list[bytes] = []
        self._trace = hashlib.blake2b(digest_size=16)
        self._proofs: list[tuple[int, Certificate]] = []

    @property
    def released_seq(self) -> int:
        """Newest entry released to the outsider."""
        return len(self.outcomes)

    def note(self, kind: str, what: str) -> None:
        """Let a remark enter the trace."""
        self._trace.update(f"{self.site.loop.virtual_s:.9f} {kind} {what}\n".encode())

    def blame(self, witness: str) -> None:
        """Note a promise that was broken."""
        self.witnesses.append(witness)

    def trace_digest(self) -> str:
        """Return the digest of the log, of what was released when, and of all remarks."""
        whole = self._trace.copy()
        for entry in self.site.tape.entries:
            whole.update(entry_digest(entry.payload))
        return whole.hexdigest()

    def take_released(self, released: Released) -> None:
        """Check a released outcome as somebody would who trusts nobody but the public keys."""
        seq = released.seq
        if seq != self.released_seq + 1:
            self.blame(f"entry {seq} was released after entry {self.released_seq}")
            return
        digest_of_outcome = outcome_digest(released.outcome)
        self.chain = next_chain(self.chain, seq, released.entry_digest, digest_of_outcome)
        self.outcomes.append(released.outcome)
        self.chains.append(self.chain)
        self.note("released", f"{seq} {self.chain.hex()}")
        entry = self.site.tape.entries[seq - 1]
        if entry_digest(entry.payload) != released.entry_digest:
            self.blame(f"entry {seq} was released with other bytes than the log holds")
        certificate = released.certificate
        if certificate.seq < seq:
            self.blame(f"entry {seq} was released by the certificate of {certificate.seq}")
        if certificate.seq == seq and certificate.chain != self.chain:
            self.blame(f"the certificate of entry {seq} is for another chain")
        if not self._proofs or self._proofs[-1][1] != certificate:
            self._proofs.append((seq, certificate))
        roster = ROSTER_OF(released.outcome)
        if roster is not None:
            self.rosters[roster.epoch] = roster

    def check_proofs(self) -> None:
        """Count the votes of all certificates, now that every replica set is known."""
        for seq, certificate in self._proofs:
            roster = self.rosters.get(certificate.epoch)
            voters = 0 if roster is None else count_voters(certificate, roster)
            if voters < MAJORITY:
                self.blame(f"entry {seq} was released by {voters} of {len(REPLICAS)} votes")
                return


def count_voters(certificate: Certificate, roster: Roster) -> int:
    """Return how many members signed the certificate's chain, by a count of the checker's own."""
    voters: set[str] = set()
    for vote in certificate.votes:
        key = roster.key_of(vote.replica)
        if key is None or vote.chain_at(certificate.seq) != certificate.chain:
            continue
        if verify(key, digest_vote(vote), vote.signature):
            voters.add(vote.replica)
    return len(voters)


def judge(
    history: History,
    requests: list[Request],
    replicas: list[ReplicaStation],
    gateways: list[GatewayStation],
    watch: Station,
) -> str:
    """Return the verdict; witnesses are left in the history."""
    outcomes = [decode_outcome(outcome) for outcome in history.outcomes]
    _count_states(history, outcomes)
    history.check_proofs()
    _check_votes(history)
    suspect = next(each for each in replicas if each.name == history.site.suspect)
    _check_naming(history, watch, suspect)
    _check_replicas(history, replicas, gateways)
    _check_requests(history, requests, outcomes)
    _check_books(history)
    if history.witnesses:
        return "invalid"
    return "valid" if len(outcomes) >= ENTRIES_MIN else "unknown"


def _count_states(history: History, outcomes: list[Outcome]) -> None:
    states = history.states
    for outcome in outcomes:
        for event in outcome.events:
            states[f"event.{type(event).__name__}"] += 1
            if isinstance(event, AccountsMoved):
                cells = unpack_int64(event.cells)
                states.update(f"account.{AccountState(s).name}" for s in cells[2::6])
            elif isinstance(event, LiquidationEnded):
                states[f"case.{CaseEnd(event.end).name}"] += 1
            elif isinstance(event, Rejected | EntryRefused):
                states[f"reject.{Reject(event.code).name}"] += 1
            elif isinstance(event, HaltStarted):
                states[f"halt.{event.why}"] += 1
            elif isinstance(event, ShortfallFound):
                states["loss.fund"] += event.fund_paid_minor > 0
                states["loss.deleveraged"] += event.deleveraged_minor > 0
                states["loss.socialised"] += event.socialised_minor > 0
        for effect in outcome.effects:
            states[f"effect.{type(effect).__name__}"] += 1


def _check_votes(history: History) -> None:
    """At most one chain of an entry is certified, and it is the released one."""
    for seq, voters_by_chain in sorted(history.site.wires.ballots.items()):
        certified = [c for c, voters in voters_by_chain.items() if len(voters) >= MAJORITY]
        if len(certified) > 1:
            history.blame(f"entry {seq} has {len(certified)} certified chains")
            return
        known = seq <= len(history.chains)
        if known and certified and certified[0] != history.chains[seq - 1]:
            history.blame(f"entry {seq} was released on another chain than is certified")
            return


def _check_naming(history: History, watch: Station, suspect: ReplicaStation) -> None:
    """A wrong vote that an outsider heard, beside those of a majority, has a name; only then."""
    site = history.site
    named = {finding for name, finding in watch.named if name == site.suspect}
    for seq, voters_by_chain in sorted(site.wires.heard.items()):
        if seq > len(history.chains):
            continue
        right = history.chains[seq - 1]
        honest = voters_by_chain.get(right, set()) - {site.suspect}
        wrong = [c for c, who in voters_by_chain.items() if c != right and site.suspect in who]
        if wrong and len(honest) >= MAJORITY and not named & {"Dissent", "Equivocation"}:
            history.blame(f"{site.suspect} voted a wrong chain at {seq} and was never named")
            return
    heard_s = site.wires.twofold_s.get(site.suspect)
    known_before = any(
        name == site.suspect and at_s < (heard_s or 0.0)
        for (name, finding), at_s in watch.named.items()
        if finding != "Misreported"
    )
    if heard_s is not None and not known_before and "Equivocation" not in named:
        history.blame(f"{site.suspect} was heard to vote two chains for one entry and not named")
    twofold = site.weather.struck["replica_votes_twice"]
    if "Equivocation" in named and suspect.lives == 1 and not twofold:
        history.blame(f"{site.suspect} signed two chains of one entry in one life")


def _check_replicas(
    history: History, replicas: list[ReplicaStation], gateways: list[GatewayStation]
) -> None:
    """Honest replicas agree with what was released, and nobody ever accused one of them."""
    suspect = history.site.suspect
    for station in (*replicas, *gateways):
        for name, finding in sorted(station.named):
            history.states[f"named.{finding}"] += 1
            # An outcome message is not signed: the network may have put it into honest mouths.
            if name != suspect and finding != "Misreported":
                history.blame(f"{station.name} accuses {name}, which is honest: {finding}")
    for station in replicas:
        for early in station.early:
            history.blame(early)
        if station.name != suspect and "outvoted" in station.phases:
            history.blame(f"{station.name} was outvoted, but is honest")
    if history.witnesses:
        return
    for station in replicas:
        assert station.replica is not None
        status = station.replica.status()
        if status.phase != "out" and status.chain != history.chain:
            history.blame(f"{station.name} ended on another chain than was released")


def _check_requests(history: History, requests: list[Request], outcomes: list[Outcome]) -> None:
    """Every acknowledged request is in the log, and nothing was applied twice."""
    applied: Counter[bytes] = Counter()
    entries = history.site.tape.entries
    refused: set[int] = set()
    for outcome in outcomes:
        first = outcome.events[0] if outcome.events else None
        if isinstance(first, EntryRefused | Repeated):
            refused.add(outcome.seq)
            continue
        content = decode_payload(entries[outcome.seq - 1].payload)
        if isinstance(content, SignedBatch):
            applied.update(encode_any(command) for command in content.batch.commands)
    asked: Counter[bytes] = Counter()
    for request in requests:
        asked.update(encode_any(command) for command in request.commands)
    for request in requests:
        _check_request(history, request, asked, applied, refused)


def _check_request(
    history: History,
    request: Request,
    asked: Counter[bytes],
    applied: Counter[bytes],
    refused: set[int],
) -> None:
    named = f"{request.name} of {request.sender}"
    receipt = request.receipt
    if receipt is not None:
        held = history.site.tape.entries[receipt.seq - 1]
        if entry_digest(held.payload) != receipt.entry_digest:
            history.blame(f"{named} was acknowledged at {receipt.seq}, which holds something else")
    given_up = receipt is not None and (
        receipt.seq in refused and (request.answer is None or request.answer.rejected is not None)
    )
    for command in request.commands:
        body = encode_any(command)
        # The same words asked for twice cannot be told apart; the interpreter asks beside us.
        if asked[body] != 1 or isinstance(command, ReportEffect):
            continue
        times = applied[body]
        if times > 1:
            history.blame(f"{named} was applied {times} times: {command}")
        elif times == 0 and receipt is not None and not given_up:
            history.blame(f"{named} was acknowledged at {receipt.seq} and is lost: {command}")


def check_effects(history: History, venue: Venue) -> None:
    """Everything that took place outside was asked for by a certified outcome, to the unit."""
    for key, done in venue.done.items():
        seq, index = (int(word) for word in key.split(":"))
        if seq > history.released_seq:
            history.blame(f"effect {key} took place and its entry was never released")
            continue
        effects = decode_outcome(history.outcomes[seq - 1]).effects
        if index >= len(effects) or effects[index] != done.effect:
            history.blame(f"effect {key} took place and is not what the certified outcome asks")
    history.states["venue.done"] += len(venue.done)


def _check_books(history: History) -> None:
    """The auditor, with books of its own, agrees with every certified outcome."""
    auditor = Auditor()
    for seq, outcome in enumerate(history.outcomes, 1):
        findings = auditor.follow(seq, history.site.tape.entries[seq - 1].payload, outcome)
        for finding in findings[:3]:
            history.blame(
                f"the auditor at entry {seq}: {finding.rule} {finding.subject}: "
                f"expected {finding.expected}, got {finding.got}"
            )
        if findings:
            return
    history.states["auditor.compared"] += auditor.coverage.compared
