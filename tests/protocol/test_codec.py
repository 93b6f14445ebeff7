"""One canonical byte form: what does not encode to the same bytes does not decode."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.protocol import codec
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Batch, PublishPrices, Tick, Withdraw
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.protocol.events import Outcome, Rejected
from seawall.protocol.genesis import Genesis, Limits
from seawall.protocol.signatures import SigningKey, verify

KEY = SigningKey(bytes(range(32)))
BATCH = Batch(b"\x01" * 32, 7, 3, (Tick(5), Withdraw(1, 0, 10, 2)))


def test_a_batch_survives_the_round_trip() -> None:
    decoded = codec.decode_payload(codec.encode_batch(BATCH, KEY))
    assert isinstance(decoded, codec.SignedBatch)
    assert decoded.batch == BATCH
    assert verify(KEY.public_key, decoded.body_digest, decoded.signature)


def test_genesis_survives_the_round_trip() -> None:
    genesis = Genesis("house", 1, 1, Limits(), (), (), ())
    assert codec.decode_payload(codec.encode_genesis(genesis)) == genesis


@given(st.data())
def test_no_other_bytes_mean_the_same(data: st.DataObject) -> None:
    """Flip any byte: the payload is refused, or its signature no longer verifies."""
    payload = bytearray(codec.encode_batch(BATCH, KEY))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    decoded = codec.decode_payload(bytes(payload))
    if isinstance(decoded, codec.SignedBatch):
        assert not verify(KEY.public_key, decoded.body_digest, decoded.signature)
    else:
        assert not isinstance(decoded, Genesis)


@given(st.integers(0, 400))
def test_truncated_payloads_are_malformed(length: int) -> None:
    payload = codec.encode_batch(BATCH, KEY)
    if length < len(payload):
        assert codec.decode_payload(payload[:length]) is Reject.MALFORMED


def test_longer_integer_forms_are_refused() -> None:
    payload = codec.encode_batch(Batch(b"", 1, 1, (Tick(5),)), KEY)
    wide = payload[:-1] + b"\xcc\x05"
    assert codec.decode_payload(wide) is Reject.MALFORMED


def test_trailing_bytes_and_extra_fields_are_refused() -> None:
    payload = codec.encode_batch(BATCH, KEY)
    assert codec.decode_payload(payload + b"\x00") is Reject.MALFORMED
    body = msgspec.msgpack.encode([b"", 1, 1, [["Tick", 5, 6]]])
    assert codec.decode_payload(b"\x01\x01" + bytes(64) + body) is Reject.MALFORMED


def test_a_future_format_is_named_as_such() -> None:
    payload = codec.encode_batch(BATCH, KEY)
    assert codec.decode_payload(b"\x02" + payload[1:]) is Reject.VERSION_FUTURE
    assert codec.decode_payload(b"\x00" + payload[1:]) is Reject.MALFORMED


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x01", b"\x01\x07abc", b"\xff" * 300])
def test_noise_is_refused(payload: bytes) -> None:
    assert codec.decode_payload(payload) in (Reject.MALFORMED, Reject.VERSION_FUTURE)


def test_columns_are_little_endian() -> None:
    assert codec.pack_int64([1, -1]) == b"\x01" + bytes(7) + b"\xff" * 8
    assert codec.unpack_int32(codec.pack_int32([7, -8])) == (7, -8)
    prices = PublishPrices(1, codec.pack_int32([3]), codec.pack_int64([9]))
    assert codec.unpack_int64(prices.values) == (9,)


def test_outcomes_survive_the_round_trip() -> None:
    outcome = Outcome(9, (Rejected(0, 307, "amount_minor"),), ())
    assert codec.decode_outcome(codec.encode_outcome(outcome)) == outcome


def test_the_chain_binds_everything() -> None:
    start = genesis_chain(b"\x01" * 32)
    link = next_chain(start, 1, b"\x02" * 32, b"\x03" * 32)
    others = [
        next_chain(genesis_chain(b"\x09" * 32), 1, b"\x02" * 32, b"\x03" * 32),
        next_chain(start, 2, b"\x02" * 32, b"\x03" * 32),
        next_chain(start, 1, b"\x04" * 32, b"\x03" * 32),
        next_chain(start, 1, b"\x02" * 32, b"\x05" * 32),
    ]
    assert len({link, *others}) == 5


def test_reject_codes_are_distinct() -> None:
    assert len({int(code) for code in Reject}) == len(Reject.__members__)
