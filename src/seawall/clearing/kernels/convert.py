"""What an amount of one asset counts in the valuation asset, inside a sweep (COLL-01).

Results are clamped to AMOUNT_MAX after each step, so that sums of two of them fit int64. Plain
twins: `collateral.convert` and `collateral.convert_raw`.
"""

from seawall.clearing.kernels.columns import Column
from seawall.clearing.kernels.compiler import inlined
from seawall.clearing.kernels.wide import mul_div_ceil, mul_div_floor
from seawall.clearing.layout import HAIRCUT_PPB, LIABILITY_HAIRCUT_PPB, PRICE, UNIT
from seawall.protocol.units import AMOUNT_MAX, PPB


@inlined
def share_down(amount: int, numerator: int, divisor: int) -> int:
    """Return amount * numerator / divisor for terms >= 0, rounded down and clamped."""
    value, fits = mul_div_floor(amount, numerator, divisor)
    return min(value, AMOUNT_MAX) if fits else AMOUNT_MAX


@inlined
def share_up(amount: int, numerator: int, divisor: int) -> int:
    """Return amount * numerator / divisor for terms >= 0, rounded up and clamped."""
    value, fits = mul_div_ceil(amount, numerator, divisor)
    return min(value, AMOUNT_MAX) if fits else AMOUNT_MAX


@inlined
def convert_raw(net: int, asset: Column) -> int:
    """Return what |net| <= AMOUNT_MAX is worth, without haircuts.

    Parameters
    ----------
    asset : one row of the asset table; its UNIT is above zero
    """
    # The valuation asset is worth itself; most amounts are in it, so the division is spared.
    if asset[PRICE] == asset[UNIT]:
        return net
    if net >= 0:
        return share_down(net, asset[PRICE], asset[UNIT])
    return -share_up(-net, asset[PRICE], asset[UNIT])


@inlined
def convert(net: int, asset: Column) -> int:
    """Return what |net| <= AMOUNT_MAX counts as collateral, or as debt when negative."""
    worth = convert_raw(net, asset)
    if net >= 0:
        if asset[HAIRCUT_PPB] == 0:
            return worth
        return share_down(worth, PPB - asset[HAIRCUT_PPB], PPB)
    if asset[LIABILITY_HAIRCUT_PPB] == 0:
        return worth
    return -share_up(-worth, PPB + asset[LIABILITY_HAIRCUT_PPB], PPB)
