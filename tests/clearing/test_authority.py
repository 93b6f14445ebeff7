"""Who may speak, and each number once: a repeat changes nothing (GOVN-01)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seawall.clearing.authority import ROLES
from seawall.clearing.machine import Machine
from seawall.protocol.codec import decode_outcome, encode_batch, encode_genesis, log_id_of
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand, Batch, OpenAccounts, Role, Tick
from seawall.protocol.events import AnyEvent, EntryRefused, Rejected, Repeated
from seawall.protocol.signatures import SigningKey
from tests.clearing import builders
from tests.clearing.builders import CLIENT, CLOCK

GENESIS = encode_genesis(builders.genesis(limits=builders.LIMITS))
LOG = log_id_of(GENESIS)


def opened() -> Machine:
    machine = Machine()
    machine.apply(1, GENESIS)
    return machine


def signed(number: int, *commands: AnyCommand, sender: int = CLOCK, signer: int = 0) -> bytes:
    batch = Batch(LOG, sender, number, commands)
    return encode_batch(batch, builders.sender_key(signer or sender))


def first(machine: Machine, payload: bytes) -> AnyEvent | None:
    events = decode_outcome(machine.apply(machine.seq + 1, payload)).events
    return events[0] if events else None


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(-2, 14), st.integers(0, 2)), max_size=30))
def test_a_model_of_numbers_agrees(drawn: list[tuple[int, int]]) -> None:
    """Consecutive numbers are applied, equal bodies repeated, all else refused by its code."""
    machine, kept = opened(), 8
    assert machine.state is not None
    machine.state.limits = replace(machine.state.limits, recents_max=kept)
    last, done = 0, dict[int, tuple[int, int]]()
    for wanted, body in drawn:
        # Many of the numbers drawn are made to follow.
        number = last + 1 if body == 0 else wanted
        before = machine.digest(), last
        event = first(machine, signed(number, Tick(0), OpenAccounts(body, 0), sender=CLOCK))
        if number == last + 1:
            assert isinstance(event, Rejected)
            last, done[number] = number, (body, machine.seq)
            done = dict(list(done.items())[-kept:])
        elif number > last:
            assert event == EntryRefused(Reject.NUMBER_GAP, "number")
        elif number not in done:
            assert event == EntryRefused(Reject.NUMBER_OLD, "number")
        elif done[number][0] == body:
            assert event == Repeated(number, done[number][1])
        else:
            assert event == EntryRefused(Reject.NUMBER_REUSED, "number")
        # Only what was applied has spent a number.
        assert (machine.state.tables.senders[CLOCK - 1].number == before[1]) == (last == before[1])


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_other_bytes_speak_for_a_sender(place: int, bits: int) -> None:
    """Any change of any byte of a batch is refused as a whole and leaves the state as it was."""
    machine = opened()
    assert machine.state is not None
    payload = signed(1, OpenAccounts(2, 1), sender=CLIENT)
    place %= len(payload)
    before = list(machine.state.pages())
    event = first(machine, payload[:place] + bytes([payload[place] ^ bits]) + payload[place + 1 :])
    assert isinstance(event, EntryRefused)
    assert event.code < 200
    machine.state.scalar[0] = 1
    assert list(machine.state.pages()) == before
    assert not isinstance(first(machine, payload), EntryRefused)


@given(st.binary(max_size=80))
def test_any_bytes_are_answered(payload: bytes) -> None:
    machine = opened()
    assert isinstance(first(machine, payload), EntryRefused)
    empty = Machine()
    assert isinstance(first(empty, payload), EntryRefused)
    assert empty.state is None


def test_a_key_of_another_sender_signs_nothing() -> None:
    machine = opened()
    for sender in range(1, 13):
        signer = sender % 12 + 1
        event = first(machine, signed(1, Tick(0), sender=sender, signer=signer))
        assert event == EntryRefused(Reject.SIGNATURE_BAD, "signature")


def test_every_command_names_the_roles_that_may_send_it() -> None:
    """A command that is missing here would be anyone's."""
    assert {*ROLES} == {*AnyCommand.__args__}
    assert all(ROLES.values())
    rolled = {kind for kind, roles in ROLES.items() if roles != ~Role(0)}
    assert [kind.__name__ for kind in ROLES if kind not in rolled] == ["RotateKey"]


def test_a_revoked_key_is_no_senders_key() -> None:
    machine = opened()
    assert machine.state is not None
    machine.state.tables.senders[CLIENT - 1].public_key = b""
    event = first(machine, signed(1, OpenAccounts(1, 1), sender=CLIENT))
    assert event == EntryRefused(Reject.SENDER_UNKNOWN, "sender_id")
    assert SigningKey(bytes(32)).public_key
