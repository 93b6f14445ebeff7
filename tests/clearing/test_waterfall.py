"""Who bears a shortfall: fund, winners, all, and always the exact sum (LIQD-05)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import margin, waterfall
from seawall.clearing.layout import (
    BALANCE,
    CASE,
    CASE_ACCOUNT_ROW,
    DELEVERAGED,
    EQUITY,
    EXTENSION_FREE,
    FUND_PAID,
    INITIAL,
    MAINTENANCE,
    POSITION_COUNT,
    SHORTFALL,
    SOCIALISED,
    STATE,
)
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.effects import RaiseAlarm
from seawall.protocol.events import (
    AccountState,
    CaseEnd,
    Deleveraged,
    LiquidationEnded,
    PositionTransferred,
    Posted,
    ShortfallFound,
    Why,
)
from seawall.protocol.ids import INSURANCE, account_row
from tests.clearing import builders, distress
from tests.clearing.builders import CALL, FIRST, INVERSE, LINEAR, USD, XBT
from tests.clearing.distress import FUND, Plan, Trade, calm, of, plans

MICRO = 10**6
BROKE, SHORT, SAVER = FIRST, FIRST + 1, FIRST + 2


def bankrupt(*, fund: int = 0, saver: int = 0, short_entry: int = 50_000, **changes: int) -> State:
    """Return a house whose first account is long 20,000 lots at 5,000 USD with 1,000 USD.

    At 4,900 USD it owes 1,000 USD. The second is short, from `short_entry`; what lies between the
    two entries is the last one's. The third only saves.
    """
    state = builders.house(4, deposits=(), parameters=calm(**changes))
    for row, amount in ((BROKE, 1_000), (SHORT, 10**5), (SAVER, saver), (FUND, fund)):
        builders.deposit(state, row, USD, amount * MICRO)
    last = FIRST + 3
    builders.trade(state, BROKE, last, LINEAR, 20_000, 50_000 * 100_000)
    builders.trade(state, last, SHORT, LINEAR, 20_000, short_entry * 100_000)
    return state


def layers(state: State) -> tuple[int, ...]:
    """Return shortfall, fund paid, deleveraged and socialised since genesis, in whole USD."""
    words = (SHORTFALL, FUND_PAID, DELEVERAGED, SOCIALISED)
    return tuple(state.scalar[word] // MICRO for word in words)


def worth(state: State, row: int) -> int:
    """Return what an account is worth at the marks."""
    return margin.raw_equity(state, row)


# By hand ------------------------------------------------------------------------------------


def test_the_fund_bears_what_it_can() -> None:
    state = bankrupt(fund=5_000)
    out = distress.move(state, 49_000)
    name = distress.account(state, BROKE)
    assert of(out, ShortfallFound) == [ShortfallFound(name, 1_000 * MICRO, 1_000 * MICRO, 0, 0)]
    assert of(out, LiquidationEnded) == [LiquidationEnded(name, CaseEnd.DEFAULTED, -1_000 * MICRO)]
    assert layers(state) == (1_000, 1_000, 0, 0)
    assert worth(state, FUND) == 4_000 * MICRO
    assert distress.lots_of(state, FUND) == {LINEAR: 20_000}
    assert distress.is_empty(state, BROKE)
    assert not [effect for effect in out.effects if isinstance(effect, RaiseAlarm)]


def test_what_the_fund_cannot_bear_winners_give_up() -> None:
    """The fund has 600 USD, 100 of them below its floor; the short gained 2,000 and gives 500."""
    state = bankrupt(fund=600, fund_floor_minor=100 * MICRO)
    out = distress.move(state, 49_000)
    assert layers(state) == (1_000, 500, 500, 0)
    assert worth(state, FUND) == 100 * MICRO
    (event,) = of(out, Deleveraged)
    assert (event.account_id, event.lots) == (distress.account(state, SHORT), 20_000)
    assert state.account[SHORT, BALANCE + USD] == (100_000 + 1_500) * MICRO
    # The position went to the winner, so nothing is left to take over.
    assert distress.lots_of(state, FUND) == {}
    assert [p.to_account for p in of(out, PositionTransferred)] == [event.account_id]


def test_what_winners_do_not_cover_is_shared() -> None:
    """The short sold at 4,910 and gained 200 USD; the fund has 300; all others share 500."""
    state = bankrupt(fund=300, saver=10_000, short_entry=49_100)
    distress.move(state, 49_000)
    assert layers(state) == (1_000, 300, 200, 500)
    # In proportion to balances: 100,200 less the gain of 200 it gave, 10,000 and 1,800.
    given_by_short = 100_000 * MICRO - state.account[SHORT, BALANCE + USD]
    given_by_saver = 10_000 * MICRO - state.account[SAVER, BALANCE + USD]
    total = 100_000 + 10_000 + 1_800
    assert given_by_short == 500 * MICRO * 100_000 // total
    assert given_by_saver == 500 * MICRO * 10_000 // total
    assert worth(state, FUND) == 0


def test_nobody_else_left_the_fund_goes_negative_and_rings() -> None:
    """Everyone who could pay is in a case or has nothing: the fund owes, and operators hear it."""
    state = bankrupt(fund=100)
    for row, amount in ((SHORT, -(10**5)), (FIRST + 3, 0)):
        builders.deposit(state, row, USD, amount * MICRO)
    builders.deposit(state, SHORT, USD, -2_100 * MICRO)
    out = distress.move(state, 49_000)
    found = {event.account_id: event for event in of(out, ShortfallFound)}
    told = found[distress.account(state, BROKE)]
    assert (told.fund_paid_minor, told.deleveraged_minor) == (1_000 * MICRO, 0)
    assert worth(state, FUND) < 0
    alarms = [effect for effect in out.effects if isinstance(effect, RaiseAlarm)]
    assert [(alarm.kind, alarm.subject) for alarm in alarms] == [("fund_exhausted", INSURANCE)]


def test_what_is_left_of_a_solvent_account_stays_with_the_fund() -> None:
    state = bankrupt(liquidation_deadline_ns=0)
    out = distress.move(state, 49_600)
    assert of(out, LiquidationEnded)[0].end == CaseEnd.TAKEN_OVER
    assert not of(out, ShortfallFound)
    assert layers(state) == (0, 0, 0, 0)
    assert worth(state, FUND) == 200 * MICRO
    (posted,) = [event for event in of(out, Posted) if event.why == Why.TAKEOVER]
    assert sum(unpack_int64(posted.amounts)) == 0
    assert set(unpack_int32(posted.assets)) == {USD}


def test_coins_and_debts_move_too() -> None:
    """An inverse long that lost more coins than it had: negative coins go to the fund as well."""
    state = builders.house(2, deposits=(), parameters=calm(liquidation_deadline_ns=0))
    builders.deposit(state, BROKE, USD, 3_000 * MICRO)
    builders.deposit(state, BROKE, XBT, 10**7)
    builders.deposit(state, SHORT, XBT, 10**9)
    distress.open_trade(state, Trade(0, 1, INVERSE, 20_000, 50_000))
    distress.move(state, 41_500)
    assert distress.is_empty(state, BROKE)
    assert state.account[FUND, BALANCE + USD] == 3_000 * MICRO
    assert state.account[FUND, BALANCE + XBT] == 10**7 - 81_927_711
    assert distress.lots_of(state, FUND) == {INVERSE: 20_000}


def test_the_same_alarm_rings_once() -> None:
    state = builders.house(0)
    out = builders.enter(state)
    for _ in range(2):
        waterfall.raise_alarm(state, out, "fund_exhausted", INSURANCE)
    waterfall.raise_alarm(state, out, "fund_full", INSURANCE)
    kinds = [effect.kind for effect in out.effects if isinstance(effect, RaiseAlarm)]
    assert kinds == ["fund_exhausted", "fund_full"]


# What the fund's books cannot hold ----------------------------------------------------------


def resolve(state: State) -> tuple[waterfall.Resolution | None, Out]:
    """Resolve a case of the first account as it stands."""
    margin.sweep(state)
    state.case[0, CASE_ACCOUNT_ROW] = BROKE
    state.account[BROKE, CASE] = 1
    out = builders.enter(state)
    return waterfall.resolve(state, 0, out), out


def test_a_position_beyond_the_funds_bound_waits_with_an_alarm() -> None:
    """The fund is exempt from the lots limit, not from lots times value in int64."""
    terms = builders.linear(lots_max=(1 << 62) // (10**7 * 10**5) - 1)
    state = builders.house(3, contracts=(terms,))
    lots = state.instrument[1, 7]
    builders.trade(state, BROKE, SHORT, 1, lots, 50_000 * 100_000)
    assert waterfall.can_take_over(state, BROKE, 0)
    # What it holds on the other side makes room, what it holds on the same side takes it.
    builders.trade(state, SAVER, FUND, 1, lots, 50_000 * 100_000)
    assert waterfall.can_take_over(state, BROKE, 0)
    builders.trade(state, FUND, SAVER, 1, lots + 10, 50_000 * 100_000)
    resolution, out = resolve(state)
    assert resolution is None
    assert not out.events
    assert [effect.kind for effect in out.effects if isinstance(effect, RaiseAlarm)] == [
        "fund_full"
    ]
    assert distress.lots_of(state, BROKE) == {1: lots}


def test_a_fund_without_slots_waits_with_an_alarm() -> None:
    contracts = [builders.linear(name=f"P{i}") for i in range(17)]
    state = builders.house(2, contracts=contracts)
    for instrument in range(1, 17):
        builders.trade(state, FUND, SHORT, instrument, 1, 50_000 * 100_000)
    builders.trade(state, BROKE, SHORT, 17, 1, 50_000 * 100_000)
    assert waterfall.can_take_over(state, BROKE, 0)
    free = state.scalar[EXTENSION_FREE]
    state.scalar[EXTENSION_FREE] = 0
    assert resolve(state)[0] is None
    state.scalar[EXTENSION_FREE] = free
    assert resolve(state)[0] is not None
    assert len(distress.lots_of(state, FUND)) == 17


# All together -------------------------------------------------------------------------------


def check_resolution(before: State, state: State, out: Out, *, roundings: int) -> None:
    """Assert what each resolution must leave behind, whoever was involved."""
    found = {event.account_id: event for event in of(out, ShortfallFound)}
    ended = {event.account_id: event for event in of(out, LiquidationEnded)}
    covered = 0
    for name, event in ended.items():
        row = account_row(name)
        if event.end == CaseEnd.RESTORED:
            assert name not in found
            continue
        assert distress.is_empty(state, row)
        assert state.account[row, STATE] == AccountState.HEALTHY
        assert (name in found) == (event.equity_minor < 0) == (event.end == CaseEnd.DEFAULTED)
        covered += event.equity_minor
        if name in found:
            told = found[name]
            parts = (told.fund_paid_minor, told.deleveraged_minor, told.socialised_minor)
            assert told.shortfall_minor == -event.equity_minor == sum(parts)
            assert min(parts) >= 0
            covered += told.deleveraged_minor + told.socialised_minor
    # What the fund gains or loses is what it took over, and the parts of a unit lost by rounding.
    drift = worth(state, FUND) - worth(before, FUND) - covered
    assert -roundings <= drift <= roundings


def check_survivors(before: State, state: State, out: Out) -> None:
    """Assert that no winner or payer gave more than it may."""
    ended = {event.account_id for event in of(out, LiquidationEnded)}
    winners = {event.account_id for event in of(out, Deleveraged)}
    payers = set()
    for event in of(out, Posted):
        if event.why == Why.SOCIALISED_LOSS:
            payers |= set(unpack_int64(event.accounts))
    for name in sorted((winners | payers) - ended):
        row = account_row(name)
        assert state.account[row, EQUITY] >= state.account[row, INITIAL]
        if name in winners and name not in payers:
            assert state.account[row, MAINTENANCE] <= before.account[row, MAINTENANCE]
            for asset in (USD, XBT):
                assert state.account[row, BALANCE + asset] >= before.account[row, BALANCE + asset]


@pytest.mark.parametrize("deadline_ns", [0, 10**12])
@given(plan=plans(), floor=st.integers(-(10**8), 10**9))
def test_every_house_in_distress_adds_up(deadline_ns: int, plan: Plan, floor: int) -> None:
    """S = F + D + U; each asset and each instrument sums to zero; survivors keep what they need."""
    parameters = calm(liquidation_deadline_ns=deadline_ns, fund_floor_minor=floor)
    state = distress.build(plan, parameters=parameters)
    for ticks in plan.prices:
        out = builders.move(state, ticks)
        margin.sweep(state)
        before = distress.copy_of(state)
        distress.settle_tick(state, out)
        distress.check_books(state)
        assert layers_exact(state)
        # A coin's minor unit is worth up to 900 USD minor units here; each lot moved may round.
        moved = 4 * len(of(out, PositionTransferred)) + 8 * len(of(out, LiquidationEnded))
        check_resolution(before, state, out, roundings=(moved + 4) * 1_000)
        check_survivors(before, state, out)


def layers_exact(state: State) -> bool:
    shortfall = state.scalar[SHORTFALL]
    words = (FUND_PAID, DELEVERAGED, SOCIALISED)
    return bool(shortfall == sum(state.scalar[word] for word in words))


@given(plan=plans(fund_max=0))
def test_the_last_house_standing(plan: Plan) -> None:
    """Everyone in distress at once, no fund: cases end, nobody holds what nobody answers for."""
    state = distress.build(plan, parameters=calm(liquidation_deadline_ns=0))
    for row in distress.clients(state):
        for asset in (USD, XBT):
            held = state.account[row, BALANCE + asset]
            builders.deposit(state, row, asset, -held)
    for _ in range(3):
        distress.move(state, plan.prices[0])
    for row in distress.clients(state):
        if state.account[row, POSITION_COUNT]:
            frozen = CALL in distress.lots_of(state, row)
            assert frozen or state.account[row, EQUITY] >= state.account[row, MAINTENANCE]
