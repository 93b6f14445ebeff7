"""The chronicle counts what must not happen in doubt, and would see it if it did."""

from typing import Any

from seawall.lab.cast import INDEX_FEED, MAKERS, PERP_FEED, SENDER_IDS, make_cast
from seawall.lab.chronicle import Chronicle
from seawall.protocol.codec import encode_batch, encode_genesis, log_id_of, pack_int32, pack_int64
from seawall.protocol.commands import Batch, Withdraw
from seawall.protocol.events import (
    AccountLines,
    Grade,
    HaltStarted,
    IndexMoved,
    LiquidationStarted,
    Outcome,
    TimeMoved,
    WithdrawalAccepted,
)
from seawall.protocol.signatures import SigningKey

CAST = make_cast(1, 10, 0)
SENDER = SENDER_IDS[MAKERS]
BODY = encode_batch(
    Batch(log_id_of(encode_genesis(CAST.genesis)), SENDER, 1, (Withdraw(9, 0, 5, 1),)),
    SigningKey(CAST.sender_seeds[SENDER]),
)


def index(grade: Grade, feed: int = INDEX_FEED) -> IndexMoved:
    return IndexMoved(pack_int32([feed]), pack_int64([1]), bytes([grade]))


def lines(
    account: int, maintenance: int, initial: int, *, evaluated: int = 1, touched: int = 1
) -> AccountLines:
    cells = [account, 0, 0, maintenance, initial, evaluated, 1, 7, 0]
    return AccountLines(pack_int64(cells), touched)


def tell(*entries: tuple[Any, ...]) -> Chronicle:
    chronicle = Chronicle()
    for seq, events in enumerate(entries, 1):
        chronicle.take(BODY, Outcome(seq, events, ()))
    return chronicle


def test_everything_in_doubt_is_counted() -> None:
    chronicle = tell(
        (TimeMoved(10), index(Grade.FRESH), lines(9, 50, 100)),
        (TimeMoved(20), index(Grade.STALE), lines(9, 40, 70)),
        (LiquidationStarted(9, 0, 1, False), WithdrawalAccepted(9, 0, 5)),
        (TimeMoved(30), index(Grade.FRESH), HaltStarted(1, 99, "outage"), lines(9, 1, 1)),
        (LiquidationStarted(9, 0, 1, False), WithdrawalAccepted(9, 0, 5)),
    )
    (freeze,) = chronicle.freezes
    assert (freeze.first_seq, freeze.last_seq, freeze.from_ns, freeze.until_ns) == (2, 3, 20, 30)
    assert (freeze.liquidations, freeze.withdrawals) == (1, 1)
    assert freeze.margin_released_minor == 30
    assert freeze.tried == 2
    assert freeze.lines == 1
    assert freeze.halted_until_ns == 99
    assert chronicle.liquidations == 2


def test_doubt_begins_after_the_first_fresh_index() -> None:
    assert tell((index(Grade.TOO_FEW),), (index(Grade.FRESH),)).freezes == []


def test_doubt_about_another_feed_is_not_counted() -> None:
    chronicle = tell((index(Grade.FRESH),), (index(Grade.STALE, PERP_FEED),))
    assert chronicle.freezes == []


def test_a_rising_requirement_is_no_release() -> None:
    chronicle = tell(
        (index(Grade.FRESH), lines(9, 50, 100)),
        (index(Grade.STALE), lines(9, 50, 150)),
        (lines(9, 10, 20, evaluated=0),),
    )
    assert chronicle.freezes[0].margin_released_minor == 0
    assert chronicle.freezes[0].lines == 1


def test_of_a_sample_only_what_is_seen_in_doubt_is_compared() -> None:
    chronicle = tell(
        (index(Grade.FRESH), lines(9, 50, 100, touched=4)),
        (index(Grade.STALE), lines(9, 40, 90, touched=4)),
        (lines(9, 35, 90, touched=4),),
    )
    assert chronicle.freezes[0].margin_released_minor == 5
