"""Indices, marks, funding, expiry and calls in a small house, by hand."""

import copy
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.oversight.books import Contract
from seawall.oversight.house import House
from seawall.oversight.prices import floor_median
from seawall.protocol.codec import encode_outcome, unpack_int64
from seawall.protocol.commands import Role, Tick
from seawall.protocol.events import (
    AccountState,
    CallIssued,
    CallOverdue,
    FundingPaid,
    Grade,
    HaltStarted,
    InstrumentSettled,
    Outcome,
    SourceDeviated,
    TradesRecorded,
)
from seawall.protocol.ids import FEES, ROUNDING
from tests.oversight.teller import Teller
from tests.oversight.world import (
    CALL,
    ETH_INDEX,
    FUTURE,
    INDEX,
    INVERSE,
    INVERSE_FUTURE,
    LINEAR,
    MINUTE_NS,
    PUT,
    TRADED,
    USD,
    XBT,
    World,
)

DOLLAR = 10**6


@pytest.fixture(name="world")
def _world() -> World:
    world = World(Teller().tell)
    world.list_all()
    return world


def house_of(world: World) -> House:
    assert world.auditor.house is not None
    return world.auditor.house


def contract_of(world: World, instrument: int) -> Contract:
    return house_of(world).books.contracts[instrument]


def told(world: World, kind: type) -> list[object]:
    return [
        event
        for entry in world.entries[-3:]
        for event in World.read(entry).events
        if isinstance(event, kind)
    ]


def open_two(world: World, dollars: int = 10_000) -> tuple[int, int]:
    one, two = world.open(2)
    world.deposit([(one, USD, dollars * DOLLAR), (two, USD, dollars * DOLLAR)])
    return one, two


def balance(world: World, account: int, asset: int = USD) -> int:
    return house_of(world).books.accounts[account].balances[asset]


def test_the_median_of_an_even_count_is_the_floor_of_the_middle() -> None:
    assert floor_median([5]) == 5
    assert floor_median([9, 1, 5]) == 5
    assert floor_median([10, 1, 6, 5]) == 5


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 10**12), min_size=3, max_size=8),
    st.lists(st.integers(1, 10**12), max_size=3),
)
def test_a_minority_cannot_move_the_median_beyond_the_honest(
    honest: list[int], liars: list[int]
) -> None:
    liars = liars[: (len(honest) - 1) // 2]
    assert min(honest) <= floor_median(honest + liars) <= max(honest)


def test_a_source_out_of_line_is_named_and_does_not_move_the_index(world: World) -> None:
    world.prices({INDEX: 800_000})
    world.price(3, {INDEX: 900_000})
    world.tick(MINUTE_NS)
    deviated = told(world, SourceDeviated)
    assert deviated == [SourceDeviated(world.ids["source-3"], INDEX, 900_000, 800_000)]
    feed = house_of(world).feeds[INDEX]
    assert (feed.index, feed.grade) == (800_000, Grade.FRESH)


def test_half_the_sources_out_of_line_make_the_index_doubtful(world: World) -> None:
    world.prices({INDEX: 800_000})
    world.tick(MINUTE_NS)
    world.price(1, {INDEX: 800_000})
    world.price(2, {INDEX: 900_000})
    world.tick(4 * MINUTE_NS - 1)
    feed = house_of(world).feeds[INDEX]
    # Only two are fresh, both five percent off their median of 850,000: the last good one stays.
    assert (feed.index, feed.grade) == (800_000, Grade.STALE)
    world.price(1, {INDEX: 800_000})
    world.price(2, {INDEX: 900_000})
    world.tick(MINUTE_NS)
    assert (feed.index, feed.grade) == (800_000, Grade.DEVIATING)
    world.price(1, {INDEX: 810_000})
    world.tick(2 * MINUTE_NS + 1)
    assert (feed.index, feed.grade) == (800_000, Grade.TOO_FEW)


def test_exactly_half_out_of_line_is_half(world: World) -> None:
    world.admit("source-4", Role.PRICES)
    world.prices({INDEX: 800_000})
    world.tick(MINUTE_NS)
    for source, value in ((1, 700_000), (2, 800_000), (3, 802_000), (4, 900_000)):
        world.price(source, {INDEX: value})
    world.tick(MINUTE_NS)
    feed = house_of(world).feeds[INDEX]
    assert (feed.index, feed.grade) == (800_000, Grade.DEVIATING)


def test_a_price_is_fresh_to_the_very_end_of_its_time(world: World) -> None:
    world.prices({INDEX: 800_000})
    world.tick(3 * MINUTE_NS)
    feed = house_of(world).feeds[INDEX]
    assert feed.grade == Grade.FRESH
    world.tick(1)
    assert feed.grade == Grade.STALE


def test_an_outage_is_followed_by_a_halt_half_as_long(world: World) -> None:
    world.prices({INDEX: 800_000})
    world.tick(MINUTE_NS)
    world.tick(4 * MINUTE_NS)
    doubt_since_ns = house_of(world).now_ns
    world.tick(8 * MINUTE_NS)
    world.prices({INDEX: 800_000})
    world.tick(2 * MINUTE_NS)
    now_ns = house_of(world).now_ns
    assert now_ns - doubt_since_ns == 10 * MINUTE_NS
    until_ns = now_ns + 5 * MINUTE_NS
    assert HaltStarted(LINEAR, until_ns, "outage") in told(world, HaltStarted)


def test_the_basis_follows_the_traded_price_slowly_and_not_far(world: World) -> None:
    world.prices({INDEX: 800_000, TRADED: 802_000})
    world.tick(MINUTE_NS)
    # A fifth of the way: 2,000 * 0.2.
    assert contract_of(world, LINEAR).ticks == 800_400
    world.prices({INDEX: 800_000, TRADED: 900_000})
    world.tick(MINUTE_NS)
    # The sample is clamped to 0.5 % of the index: 400 + (4,000 - 400) * 0.2.
    assert contract_of(world, LINEAR).ticks == 801_120
    # The future has two hours left of thirty days: its clamp is 4,000 * 118 min // 30 d = 10.
    assert contract_of(world, FUTURE).ticks == 800_000 + 11 // 5 + (10 - 2) // 5


def test_funding_moves_from_longs_to_shorts_and_keeps_the_rest(world: World) -> None:
    one, two = open_two(world)
    three = world.open(1)[0]
    world.deposit([(three, USD, 10_000 * DOLLAR)])
    world.prices({INDEX: 800_000, TRADED: 800_801})
    world.tick(MINUTE_NS)
    world.trade((one, two, LINEAR, 3, 800_000, 0), (one, three, LINEAR, 4, 800_000, 0))
    before = [balance(world, each) for each in (one, two, three)]
    # One sample of 1,001,250 ppb, plus interest of 100,000.
    world.at(15, {INDEX: 800_000, TRADED: 800_801})
    mark = 800_000 + 160 + (801 - 160) // 5
    rate = 1_101_250
    exact = Fraction(mark * 1_000 * rate, 10**9 * 100)
    longs, two_gets, three_gets = -(-7 * exact // 1), 3 * exact // 1, 4 * exact // 1
    after = [balance(world, each) for each in (one, two, three)]
    moved = [b - a for a, b in zip(before, after, strict=True)]
    assert moved == [-longs, two_gets, three_gets]
    kept = longs - two_gets - three_gets
    paid = FundingPaid(LINEAR, rate, longs, two_gets + three_gets, kept)
    assert paid in told(world, FundingPaid)
    assert kept >= 0


def test_without_samples_funding_pays_nothing_not_even_interest(world: World) -> None:
    one, two = open_two(world)
    world.prices({INDEX: 800_000})
    world.tick(MINUTE_NS)
    world.trade((one, two, LINEAR, 100, 800_000, 0))
    before = balance(world, one)
    world.at(15, {INDEX: 800_000})
    assert FundingPaid(LINEAR, 0, 0, 0, 0) in told(world, FundingPaid)
    assert balance(world, one) == before


def test_dated_contracts_settle_at_the_mean_of_the_window(world: World) -> None:
    one, two = open_two(world)
    world.prices({INDEX: 800_000, TRADED: 800_000})
    world.tick(MINUTE_NS)
    world.trade((one, two, FUTURE, 100, 800_000, 0), (one, two, CALL, 10, 30_000, 0))
    world.trade((one, two, INVERSE_FUTURE, 1_000, 800_000, 0), (two, one, PUT, 10, 9_000, 0))
    before = (balance(world, one), balance(world, one, XBT))
    # Samples in the window, the last ten minutes; the first price is too early for it.
    for minutes, index in ((109, 700_000), (110, 801_000), (115, 802_000), (120, 806_000)):
        world.at(minutes, {INDEX: index, TRADED: index})
    final = (801_000 + 802_000 + 806_000) // 3
    settled = told(world, InstrumentSettled)
    assert InstrumentSettled(FUTURE, final) in settled
    assert {each.instrument_id for each in settled if isinstance(each, InstrumentSettled)} == {
        *(FUTURE, INVERSE_FUTURE, CALL, PUT)
    }
    # 100 lots gain 3,000 ticks of a cent for a thousandth of a coin: 3 cents a lot. The call pays
    # 3,000 ticks on ten lots; the put ends worthless, and its seller keeps what it was sold at.
    gain = 100 * 30_000 + 10 * 30_000 + 10 * 90_000
    assert balance(world, one) - before[0] == gain
    # A thousand dollars at 8,000 and at 8,030: 12,500,000 less 12,453,300 satoshi.
    coins = (1_000 * (125_000_000 - 10**14 // final)) // 10_000
    assert balance(world, one, XBT) - before[1] == coins
    assert not house_of(world).books.accounts[one].holdings


def test_fees_are_a_share_of_value_rounded_up(world: World) -> None:
    one, two = open_two(world)
    world.prices({INDEX: 800_000, TRADED: 800_000})
    world.tick(MINUTE_NS)
    world.trade((one, two, LINEAR, 1, 799_999, 1))
    results = [each for each in told(world, TradesRecorded) if isinstance(each, TradesRecorded)]
    # 7.99999 dollars: 0.075 % is 5,999.9925 minor units for the buyer who took; the maker is
    # given 0.025 %, 1,999.9975 units, of which it gets 1,999.
    assert unpack_int64(results[-1].results) == (0, 0, 0, 6_000, -1_999)
    assert balance(world, FEES) == 6_000 - 1_999


def test_an_account_below_initial_is_called_for_what_is_missing(world: World) -> None:
    one, two = open_two(world, dollars=1_000)
    world.prices({INDEX: 800_000, TRADED: 800_000})
    world.tick(MINUTE_NS)
    # 10,000 lots are 80,000 dollars: 700 dollars of maintenance, 1,400 initial.
    world.trade((one, two, LINEAR, 10_000, 800_000, 0))
    world.prices({INDEX: 800_000, TRADED: 800_000})
    world.tick(MINUTE_NS)
    account = house_of(world).books.accounts[one]
    fee = -(80_000 * DOLLAR * 250_000 // 10**9)
    assert account.equity == 1_000 * DOLLAR - fee
    assert (account.maintenance, account.initial) == (700 * DOLLAR, 1_400 * DOLLAR)
    assert account.state == AccountState.CALLED
    deadline_ns = house_of(world).now_ns + 60 * MINUTE_NS
    issued = CallIssued(one, 1_400 * DOLLAR - account.equity, deadline_ns)
    assert issued in told(world, CallIssued)


def test_a_call_is_overdue_only_after_its_deadline(world: World) -> None:
    one, two = open_two(world, dollars=1_000)
    world.at(1, {INDEX: 800_000, TRADED: 800_000})
    world.trade((one, two, LINEAR, 10_000, 800_000, 0))
    world.at(2, {INDEX: 800_000, TRADED: 800_000})
    account = house_of(world).books.accounts[one]
    # At the deadline itself the call may still be met. (The house told here starts no
    # liquidation, so a moment later the auditor would ask for one.)
    world.tick(account.call_deadline_ns - MINUTE_NS - world.now_ns)
    world.prices({INDEX: 800_000, TRADED: 800_000})
    world.tick(MINUTE_NS)
    assert house_of(world).now_ns == account.call_deadline_ns
    assert account.state == AccountState.CALLED
    assert told(world, CallOverdue) == []
    auditor, found = copy.deepcopy(world.auditor), []
    for seq, clock in enumerate(("clock", "clock-2"), world.seq + 1):
        late = world.sign(clock, world.numbers[clock] + 1, [Tick(world.now_ns + 1)])
        found = auditor.follow(seq, late, encode_outcome(Outcome(seq, (), ())))
    assert f"account {one}: liquidation" in [each.subject for each in found]


def test_whole_units_of_rounding_move_to_their_account(world: World) -> None:
    accounts = world.open(6)
    world.deposit([(each, USD, 10_000 * DOLLAR) for each in accounts])
    world.prices({INDEX: 800_000, TRADED: 800_000, ETH_INDEX: 20_000})
    world.tick(MINUTE_NS)
    for one, two in zip(accounts[:3], accounts[3:], strict=True):
        world.trade((one, two, INVERSE, 7, 799_993, 0), (one, two, INVERSE, 2, 790_001, 0))
        world.trade((two, one, INVERSE, 3, 800_011, 0), (two, one, INVERSE, 6, 801_003, 0))
    contract = contract_of(world, INVERSE)
    assert contract.lots_sum == contract.long_lots == contract.costs_sum == 0
    whole, rest = divmod(contract.residual, 10_000)
    assert whole > 0
    assert contract.variation * 10_000 == contract.residual
    world.tick(MINUTE_NS)
    assert balance(world, ROUNDING, XBT) == whole
    assert (contract.residual, contract.variation) == (rest, 0)
    assert rest == 0
