"""Integer quantities: bounds, scales and the three named roundings."""

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1
AMOUNT_MAX = (1 << 62) - 1
"""Largest magnitude of a balance, a cost or a value: sums of two never leave int64."""

PPB = 1_000_000_000
"""Parts per billion: rates and haircuts are `_ppb` integers over this."""

NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND
NS_PER_HOUR = 60 * NS_PER_MINUTE


def mul_div_floor(a: int, b: int, c: int) -> int:
    """Return a * b / c rounded towards minus infinity, exact for any integers.

    Parameters
    ----------
    c : non-zero; its sign is honoured

    Raises
    ------
    ZeroDivisionError
        If `c` is zero.
    """
    return a * b // c


def mul_div_ceil(a: int, b: int, c: int) -> int:
    """Return a * b / c rounded towards plus infinity, exact for any integers."""
    return -(-a * b // c)


def mul_div_half_even(a: int, b: int, c: int) -> int:
    """Return a * b / c rounded to nearest, ties to the even integer, exact for any integers."""
    quotient, remainder = divmod(a * b, c)
    # The remainder has the sign of c and is smaller than it in magnitude.
    twice, whole = 2 * abs(remainder), abs(c)
    if twice > whole or (twice == whole and quotient % 2 == 1):
        return quotient + 1
    return quotient


def is_int64(value: int) -> bool:
    """Tell whether `value` fits a signed 64-bit column."""
    return INT64_MIN <= value <= INT64_MAX


def is_amount(value: int) -> bool:
    """Tell whether `value` is within the bound of balances, costs and values."""
    return -AMOUNT_MAX <= value <= AMOUNT_MAX
