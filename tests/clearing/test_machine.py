"""The machine from outside, under any course of signed entries (STEP-01, LEDG-01, GOVN-01).

After each entry the stage has already compared with a machine restored from pages, summed the
books, looked for traces of what was refused and asked the auditor (tests/scenarios/stage.py).
"""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seawall.clearing import machine as clearing
from seawall.clearing.machine import Machine
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codec import decode_outcome
from seawall.protocol.events import Checkpointed, EntryRefused, Repeated
from tests.scenarios.stage import Stage
from tests.scenarios.transcript import FOLDER, answer, play

ACCOUNTS = ("a", "b", "c", "d", "p", "z")
SPOTS = (4_300, 4_700, 4_900, 4_980, 5_000, 5_010, 5_100, 5_400, 6_100)
CONTRACTS = ("PERP", "INV", "FUT", "CALL")
account = st.sampled_from((*ACCOUNTS, "a/x"))
contract = st.sampled_from(CONTRACTS)


class House(RuleBasedStateMachine):
    """A house with several senders: clients trade, the market moves, people err."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()

    def say(self, line: str) -> list[str]:
        return answer(self.stage, line)

    @initialize(reports_min=st.sampled_from((1, 1, 2)), fund=st.sampled_from((0, 50, 5_000)))
    def open(self, reports_min: int, fund: int) -> None:
        self.say("house checkpoint_entries=7 governance_delay_ns=5m liquidation_deadline_ns=3m")
        self.say("list PERP taker_fee_ppb=500000 maker_fee_ppb=-250001 funding_interval_ns=10m")
        self.say("list INV taker_fee_ppb=333333 value_scale=100000 lots_max=100000")
        self.say("list FUT expiry_ns=@+40m settlement_window_ns=3m")
        self.say("list CALL expiry_ns=@+30m settlement_window_ns=3m")
        self.say("open a b c d")
        self.say("sub a/x")
        self.say("open p mode=portfolio")
        self.say("open z by=client-2")
        self.say("deposit a 900 USD b 9000 USD c 300 USD d 40000 USD p 3000 USD z 500 USD")
        self.say("deposit a 0.5 XBT z 0.7 XBT d 3 XBT a/x 50 USD")
        if fund:
            self.say(f"deposit insurance {fund} USD")
        self.say("propose 1 PERP:-500,500 FUT:-490,510 CALL:-100,250@200000000 expires=+25m")
        self.say("attest 1")
        self.say("move 5000")
        self.say(f"set reports_min {reports_min}")

    @rule(spot=st.sampled_from(SPOTS), skew=st.integers(-9, 9), after=st.integers(1, 3))
    def move(self, spot: int, skew: int, after: int) -> None:
        self.say(f"move {spot} traded={spot + skew} after={after}m")

    @rule(minutes=st.integers(1, 9))
    def silence(self, minutes: int) -> None:
        self.say(f"tick +{minutes}m")

    @rule(spot=st.sampled_from(SPOTS), lie=st.sampled_from(SPOTS), liar=st.integers(0, 2))
    def quarrel(self, spot: int, lie: int, liar: int) -> None:
        for place, source in enumerate(("alpha", "beta", "gamma")):
            told = lie if place == liar else spot
            self.say(f"publish index={told} traded={told} by={source}")
        self.say("tick +10s")

    @rule(
        fills=st.lists(
            st.tuples(account, account, contract, st.integers(-1, 900), st.sampled_from(SPOTS)),
            min_size=1,
            max_size=6,
        ),
        confirmed=st.booleans(),
    )
    def trade(self, fills: list[tuple[str, str, str, int, int]], confirmed: bool) -> None:
        named = " ".join(
            f"{buyer} {seller} {lots} {name} {spot // 20 if name == 'CALL' else spot}"
            for buyer, seller, name, lots, spot in fills
        )
        self.say(f"trade {named}")
        if confirmed:
            self.say(f"confirm 1 {self.stage.state.tables.streams.get(1, 0) + 1} by=venue-2")

    @rule(name=account, amount=st.integers(-1, 700), asset=st.sampled_from(("USD", "USD", "7")))
    def deposit(self, name: str, amount: int, asset: str) -> None:
        self.say(f"deposit {name} {amount} {asset}")
        self.say(f"deposit {name} {amount} {asset} by=custody-2")

    @rule(
        name=account, amount=st.integers(0, 2_000), client=st.sampled_from(("client", "client-2"))
    )
    def withdraw(self, name: str, amount: int, client: str) -> None:
        self.say(f"withdraw {name} {amount} USD by={client} ; withdraw {name} 0.01 XBT")

    @rule(source=account, receiver=account, amount=st.integers(1, 500))
    def transfer(self, source: str, receiver: str, amount: int) -> None:
        self.say(f"transfer {source} {receiver} {amount} USD")

    @rule(fate=st.sampled_from(("done", "failed", "fill", "fill")), back=st.integers(1, 4))
    def report(self, fate: str, back: int) -> None:
        count = len(self.stage.names.effects)
        if count < back:
            return
        number = count - back + 1
        key = self.stage.names.effects[number - 1]
        pending = self.stage.state.tables.outbox.get(key)
        if fate == "fill" and pending and hasattr(pending.effect, "lots"):
            self.say(f"fill #{number} d")
        else:
            self.say(f"report #{number} {'done' if fate == 'fill' else fate}")

    @rule(name=contract, minutes=st.integers(1, 5))
    def halt(self, name: str, minutes: int) -> None:
        self.say(f"halt {name} +{minutes}m")

    @rule(name=contract)
    def resume(self, name: str) -> None:
        self.say(f"resume {name}")

    @rule(
        change=st.sampled_from(
            (
                "fund_floor_minor 20000000",
                "fund_floor_minor 0",
                "warn_ppb 2000000000",
                "withdrawals_locked 1",
                "withdrawals_locked 0",
                "orders_per_tick_max 1",
                "stale_ns 60000000000",
                "audit_lines_max 3",
            )
        )
    )
    def govern(self, change: str) -> None:
        self.say(f"set {change}")

    @rule(name=account, mode=st.sampled_from(("cross", "portfolio")))
    def change_mode(self, name: str, mode: str) -> None:
        self.say(f"mode {name} {mode}")

    @rule(name=st.sampled_from(("a/x", "c", "z")))
    def close(self, name: str) -> None:
        if self.say(f"close {name}") == [f"AccountClosed {name}"]:
            self.say(f"open {name}" if "/" not in name else f"sub {name}")

    @rule(cut=st.integers(0, 3), flip=st.integers(0, 400))
    def garble(self, cut: int, flip: int) -> None:
        before = self.stage.machine.digest()
        told = self.say(f"resend cut={cut} flip={flip}" if cut else f"resend flip={flip}")
        assert any(line.startswith("entry refused") for line in told)
        assert before == self.stage.machine.digest() or self.stage.machine.seq

    @rule()
    def repeat(self) -> None:
        outcome = decode_outcome_of(self.stage, self.stage.sent)
        assert isinstance(outcome[0], Repeated | EntryRefused)

    @invariant()
    def the_auditor_agrees(self) -> None:
        assert self.stage.findings == []

    def teardown(self) -> None:
        """Replay all entries in a new machine: every outcome and the state are the same."""
        again = Machine()
        for seq, payload in enumerate(self.stage.payloads, 1):
            assert again.apply(seq, payload) == self.stage.outcomes[seq - 1]
        assert again.digest() == self.stage.machine.digest()


def decode_outcome_of(stage: Stage, payload: bytes) -> tuple[object, ...]:
    """Let the stage apply an entry and return its events."""
    stage.apply(payload)
    return decode_outcome(stage.outcomes[-1]).events


TestHouse = House.TestCase
TestHouse.settings = settings(max_examples=40, stateful_step_count=40)


def test_a_snapshot_at_any_entry_leads_to_the_same_end() -> None:
    """Restored after each entry of a busy transcript, the rest gives the same bytes."""
    payloads = play((FOLDER / "STEP-01-order.txt").read_text()).payloads
    live = Machine()
    outcomes = [live.apply(seq, payload) for seq, payload in enumerate(payloads, 1)]
    for start in range(1, len(payloads), 5):
        machine = Machine()
        for seq in range(1, start + 1):
            machine.apply(seq, payloads[seq - 1])
        restored = Machine()
        restored.restore(machine.pages())
        assert restored.seq == start
        for seq in range(start + 1, len(payloads) + 1):
            assert restored.apply(seq, payloads[seq - 1]) == outcomes[seq - 1]
        assert restored.digest() == live.digest()


def test_the_steps_run_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is called once an entry in which time moved, in the order of STEP-01."""
    called: list[str] = []
    steps = (
        ("outbox", "step_outbox"),
        ("governance", "step_changes"),
        ("marks", "step_prices"),
        ("breakers", "step_halts"),
        ("settlement", "step_settlement"),
        ("funding", "step_funding"),
        ("riskbook", "step_lapses"),
        ("margin", "sweep"),
        ("calls", "step_calls"),
        ("liquidation", "step_liquidation"),
        ("rounding", "step_rounding"),
    )
    for room, name in steps:
        module = getattr(clearing, room)
        monkeypatch.setattr(module, name, _noting(getattr(module, name), name, called))
    stage = Stage()
    for line in ("house", "list PERP"):
        answer(stage, line)
    assert called == []
    # The stage plays each entry a second time, on a machine restored from pages.
    answer(stage, "tick +1m")
    assert called == [name for _, name in steps] * 2
    called.clear()
    answer(stage, "tick +0s")
    assert called == []


def _noting(step: object, name: str, called: list[str]) -> object:
    def noting(state: State, *out: Out) -> object:
        called.append(name)
        return step(state, *out)  # type: ignore[operator]

    return noting


def test_checkpoints_come_every_so_many_entries() -> None:
    stage = Stage()
    answer(stage, "house checkpoint_entries=4")
    for _ in range(12):
        answer(stage, "tick +0s")
    told = [
        seq
        for seq, outcome in enumerate(stage.outcomes, 1)
        if any(isinstance(e, Checkpointed) for e in decode_outcome(outcome).events[-1:])
    ]
    assert told == [4, 8, 12]
    for seq in told:
        assert Machine.checkpoint_of(stage.outcomes[seq - 1]) is not None
    assert Machine.checkpoint_of(stage.outcomes[0]) is None


def test_random_courses_end_alike_in_two_machines() -> None:
    """The same payloads in two machines of one process: the same bytes, entry by entry."""
    draw = random.Random(7)
    stage = Stage()
    lines = ["house", "list PERP", "open a b", "deposit a 500 USD b 500 USD insurance 20 USD"]
    for _ in range(60):
        spot = draw.choice(SPOTS)
        lines += [f"move {spot}", f"trade a b {draw.randint(1, 400)} PERP {spot}"]
        lines += [f"trade b a {draw.randint(1, 400)} PERP {spot}"]
    for line in lines:
        answer(stage, line)
    again = Machine()
    assert [again.apply(s, p) for s, p in enumerate(stage.payloads, 1)] == stage.outcomes
