"""Mutants: named bugs for the simulated house only, each of which a sweep must notice.

A mutant replaces one function of the production code in this process, for as long as one run
lasts. No entry point of production imports this module, and none of them has a switch for it.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from seawall.clearing import (
    authority,
    breakers,
    cash,
    funding,
    ledger,
    marks,
    outbox,
    tearup,
    waterfall,
)
from seawall.clearing import state as books
from seawall.node import effects, lane, sender
from seawall.node.clock import Backoff
from seawall.node.joined import Joined
from seawall.protocol.codes import Reject
from seawall.protocol.events import EffectExpired, Why
from seawall.replica import machine, quarantine, replica, routing, snapshots, tally, votes
from seawall.replica.log import LogFault
from seawall.replica.reading import ReadFault
from seawall.replica.voter import Voter

FOREVER_NS = 1 << 61

Patch = Callable[[ExitStack], None]
MUTANTS: dict[str, Patch] = {}


def mutant(patch: Patch) -> Patch:
    """Let a function that breaks something be known by its name."""
    MUTANTS[patch.__name__] = patch
    return patch


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the house in one named way for as long as the context lasts."""
    with ExitStack() as stack:
        MUTANTS[name](stack)
        yield


def swap(stack: ExitStack, owner: Any, name: str, other: Any) -> None:
    """Put `other` in the place of an attribute until the stack unwinds."""
    stack.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, other)


# The way into the log -----------------------------------------------------------------------


@mutant
def lost_command(stack: ExitStack) -> None:
    """An append whose answer did not come counts as done."""
    honest = lane.Outbound.append

    async def append(self: lane.Outbound, message_id: str, payload: bytes) -> tuple[int, bool]:
        try:
            return await honest(self, message_id, payload)
        except LogFault:
            return self.acknowledged_seq + 1, False

    swap(stack, lane.Outbound, "append", append)


@mutant
def acknowledged_before_durable(stack: ExitStack) -> None:
    """A client hears that the log holds its commands when they have only been sent."""
    honest = sender.Sender._deliver  # noqa: SLF001

    async def deliver(self: sender.Sender, parcel: lane.Parcel) -> None:
        guess = self.lane._outbound.acknowledged_seq + 1  # noqa: SLF001
        for request in parcel.requests:
            known = self.find_place(parcel.entry_digest, request.index)
            if known is not None and not known.settled:
                place = sender.place_of(parcel, request)
                known.acknowledge(msgspec.structs.replace(place, seq=guess))
        await honest(self, parcel)

    swap(stack, sender.Sender, "_deliver", deliver)


@mutant
def message_id_reused(stack: ExitStack) -> None:
    """All batches of a sender carry the same message id, so the log keeps the first one only."""

    def message_id(self: lane.Lane, parcel: lane.Parcel, copy: int) -> str:
        del copy
        return f"{parcel.signed.batch.log_id.hex()[:16]}.{self.sender_id}"

    swap(stack, lane.Lane, "_message_id", message_id)


@mutant
def command_said_twice(stack: ExitStack) -> None:
    """A batch holds its first command once more at its end."""
    honest = sender.Signer.sign

    def sign(self: sender.Signer, number: int, commands: Any) -> bytes:
        return honest(self, number, (*commands, *commands[:1]))

    swap(stack, sender.Signer, "sign", sign)


@mutant
def journal_forgotten(stack: ExitStack) -> None:
    """A gateway that restarts does not read what it had signed."""

    def open_empty(self: lane.Lane) -> int:
        del self
        return 0

    swap(stack, lane.Lane, "open", open_empty)


@mutant
def repeat_applied(stack: ExitStack) -> None:
    """The machine applies a batch again that it has applied before."""
    honest = authority.check_batch

    def check_batch(state: books.State, signed: Any) -> Any:
        verdict = honest(state, signed)
        return verdict if isinstance(verdict, Reject) else 0

    swap(stack, authority, "check_batch", check_batch)


@mutant
def gap_stepped_over(stack: ExitStack) -> None:
    """A reader of the log goes on behind a hole."""

    async def read_boldly(
        log: Any, clock: Any, first_seq: int, on_fault: Any
    ) -> AsyncGenerator[Any, None]:
        while True:
            try:
                async for entry in log.read(first_seq):
                    first_seq = entry.seq + 1
                    yield entry
                return
            except LogFault as fault:
                on_fault(ReadFault(seq=first_seq, reason=repr(fault), attempt=1))
            await clock.sleep(0.05)

    swap(stack, replica, "read_steadily", read_boldly)


# Votes and certificates ---------------------------------------------------------------------


@mutant
def release_without_majority(stack: ExitStack) -> None:
    """One vote is a majority."""
    swap(stack, machine.Roster, "majority", property(lambda _: 1))


@mutant
def vote_unsigned(stack: ExitStack) -> None:
    """Nobody looks at the signature of a vote."""
    swap(stack, votes, "verify", lambda *_: True)


@mutant
def vote_skipped(stack: ExitStack) -> None:
    """Every third vote of a replica is signed and never sent."""
    honest = Voter.next_vote

    def next_vote(self: Any, history: Any, rosters: Any) -> Any:
        vote = honest(self, history, rosters)
        if vote is None or vote.last_seq % 3:
            return vote
        self.newest = ()
        return honest(self, history, rosters)

    swap(stack, Voter, "next_vote", next_vote)


@mutant
def dissent_ignored(stack: ExitStack) -> None:
    """Whoever votes another chain than the majority's is never named."""
    swap(stack, tally.Tally, "_compare", lambda *_: None)


@mutant
def equivocation_ignored(stack: ExitStack) -> None:
    """Two signatures for one entry pass, and the newer one counts."""
    swap(stack, tally.Tally, "_find_equivocation", lambda *_: None)


@mutant
def quarantine_rejoined_too_early(stack: ExitStack) -> None:
    """An outvoted replica votes again before it has caught up with what it had signed."""

    def rejoin(standing: Any, *, certified_seq: int, agrees: bool) -> Any:
        del certified_seq, agrees
        if standing.phase is not quarantine.Phase.CATCHING_UP:
            return standing
        return msgspec.structs.replace(standing, phase=quarantine.Phase.VOTING)

    swap(stack, replica, "rejoin", rejoin)


@mutant
def outvoted_goes_on(stack: ExitStack) -> None:
    """A replica that finds another chain certified than its own shrugs."""
    swap(stack, replica.Replica, "_be_outvoted", lambda *_: None)


@mutant
def stale_read_served_as_fresh(stack: ExitStack) -> None:
    """A reader that asks for what it has seen acknowledged is sent to any replica."""
    honest = routing.choose_reader

    def choose_reader(readers: Any, *, region: str, min_seq: int = 0) -> Any:
        del min_seq
        return honest(readers, region=region, lag_entries_max=1 << 30)

    swap(stack, routing, "choose_reader", choose_reader)


# Snapshots ----------------------------------------------------------------------------------


@mutant
def digest_skips_a_field(stack: ExitStack) -> None:
    """The pages of the state, and so its digest and its snapshots, leave one column out."""
    columns = tuple(name for name in books.State.COLUMNS if name != "sources")
    swap(stack, books.State, "COLUMNS", columns)


@mutant
def snapshot_off_by_one(stack: ExitStack) -> None:
    """A restored machine believes that it has applied one entry more than it has."""
    honest = replica.Replica._resume  # noqa: SLF001

    def resume(self: Any, restored: Any) -> None:
        honest(self, restored)
        self._history.seq += 1

    swap(stack, replica.Replica, "_resume", resume)


@mutant
def snapshot_unchecked(stack: ExitStack) -> None:
    """The pages of a snapshot are used as they come from the disk."""
    swap(stack, snapshots, "digest_page", lambda _: bytes(32))
    swap(stack, snapshots, "digest_state", _AnyDigest)


class _AnyDigest:
    """Equal to whatever it is compared with."""

    def __init__(self, _: Any) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


# Effects ------------------------------------------------------------------------------------


@mutant
def effect_doubled(stack: ExitStack) -> None:
    """An effect that was not answered is sent again without a question."""

    async def carry_out(self: effects.Interpreter, key: effects.Key) -> Any:
        backoff = Backoff(self._clock)
        while key in self.outbox:
            try:
                door = self._door
                return await door.execute(f"{key[0]}:{key[1]}", self.outbox[key])
            except effects.DoorFault:
                await backoff.pause()
        return None

    swap(stack, effects.Interpreter, "_carry_out", carry_out)


@mutant
def effect_after_expiry(stack: ExitStack) -> None:
    """The interpreter does not hear that an effect has expired, nor look at its time."""
    honest = effects.Interpreter.take

    def take(self: effects.Interpreter, joined: Joined) -> None:
        events = tuple(e for e in joined.outcome.events if not isinstance(e, EffectExpired))
        outcome = msgspec.structs.replace(joined.outcome, events=events)
        honest(self, msgspec.structs.replace(joined, outcome=outcome))

    swap(stack, effects.Interpreter, "take", take)
    swap(stack, effects.Interpreter, "_is_due", lambda self, key: key in self.outbox)


# The books ----------------------------------------------------------------------------------


@mutant
def ledger_one_unit_off(stack: ExitStack) -> None:
    """Each deposit is booked with one minor unit more than was told, on both sides."""
    honest = ledger.post

    def post(state: Any, out: Any, why: Any, legs: list[Any]) -> None:
        if why == Why.DEPOSIT:
            row, asset, amount = legs[0]
            legs = [
                (place, a, total - (place == cash.EXTERNAL_ROW and a == asset))
                for place, a, total in legs
            ]
            legs[0] = (row, asset, amount + 1)
        honest(state, out, why, legs)

    swap(stack, cash, "post", post)


@mutant
def payout_returned_though_paid(stack: ExitStack) -> None:
    """Money that the bank has paid out goes back to the account as well."""
    honest = cash.finish_payout

    def finish_payout(state: Any, out: Any, payout: Any, status: Any) -> None:
        del status
        honest(state, out, payout, None)

    swap(stack, outbox, "finish_payout", finish_payout)


@mutant
def withdrawal_ignores_margin(stack: ExitStack) -> None:
    """Whoever has a balance may withdraw it, whatever its positions need."""
    swap(stack, cash, "free_collateral", lambda *_: None)


@mutant
def funding_not_zero_sum(stack: ExitStack) -> None:
    """Funding pays one holder a minor unit that nobody paid."""
    honest = funding._credit  # noqa: SLF001

    def credit(state: Any, asset: int, rows: Any, amounts: Any) -> None:
        amounts = amounts.copy()
        if len(amounts):
            amounts[0] += 1
        honest(state, asset, rows, amounts)

    swap(stack, funding, "_credit", credit)


@mutant
def deleveraging_makes_money(stack: ExitStack) -> None:
    """Winners are said to have given up more than they did."""
    honest = tearup.deleverage

    def deleverage(state: Any, out: Any, row: int, wanted_minor: int) -> int:
        given = honest(state, out, row, wanted_minor)
        return min(wanted_minor, 2 * given)

    swap(stack, waterfall, "deleverage", deleverage)


@mutant
def breaker_ignored(stack: ExitStack) -> None:
    """Neither an outage nor a jump of the price halts anything."""
    swap(stack, breakers, "trip", lambda *_, **__: None)


@mutant
def stale_mark_accepted(stack: ExitStack) -> None:
    """A price counts as fresh however old it is."""
    honest = books.State.parameter

    def parameter(self: books.State, name: str) -> int:
        return FOREVER_NS if name == "stale_ns" else honest(self, name)

    swap(stack, books.State, "parameter", parameter)


@mutant
def liar_sets_the_price(stack: ExitStack) -> None:
    """The index is the highest fresh price and not the median."""
    honest = marks.compute_median

    def compute_median(fresh: list[int], *, sources_min: int, deviation_ppb: int) -> Any:
        median = honest(fresh, sources_min=sources_min, deviation_ppb=deviation_ppb)
        return median._replace(value=max(fresh)) if fresh else median

    swap(stack, marks, "compute_median", compute_median)
