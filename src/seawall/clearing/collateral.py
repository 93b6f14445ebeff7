"""What money counts: amounts of one asset in the valuation asset, with haircuts (COLL-01).

Inside a sweep `kernels.convert` does the same, to the last unit.
"""

from seawall.clearing.layout import HAIRCUT_PPB, LIABILITY_HAIRCUT_PPB, PRICE, UNIT
from seawall.clearing.state import State
from seawall.protocol.units import AMOUNT_MAX, PPB, mul_div_ceil, mul_div_floor


def convert(state: State, asset: int, net: int) -> int:
    """Return what a net amount counts towards equity, in valuation minor units.

    Parameters
    ----------
    net : balance plus unrealised profit in the asset, minor units, |net| <= AMOUNT_MAX

    Rounding
    --------
    Against the account twice, at the price and at the haircut: what it has is rounded down, what
    it owes up. Each step is clamped to AMOUNT_MAX, which no honest supply reaches.

    Source
    ------
    COLL-01.
    """
    worth = convert_raw(state, asset, net)
    if net >= 0:
        return mul_div_floor(worth, PPB - state.asset[asset, HAIRCUT_PPB], PPB)
    charged_ppb = PPB + state.asset[asset, LIABILITY_HAIRCUT_PPB]
    return -min(mul_div_ceil(-worth, charged_ppb, PPB), AMOUNT_MAX)


def convert_raw(state: State, asset: int, net: int) -> int:
    """Return what a net amount is worth at its price, without haircuts, rounded against it."""
    assert -AMOUNT_MAX <= net <= AMOUNT_MAX
    price, unit = state.asset[asset, PRICE], state.asset[asset, UNIT]
    # Floor rounds a debt up in size, so one rounding serves both signs.
    return max(min(mul_div_floor(net, price, unit), AMOUNT_MAX), -AMOUNT_MAX)
