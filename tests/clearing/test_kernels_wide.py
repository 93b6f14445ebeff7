"""Wide arithmetic: kernels equal Python's integers on every int64, the bounds above all."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seawall.clearing.kernels import wide
from seawall.clearing.kernels.compiler import kernel
from seawall.protocol import units
from seawall.protocol.units import INT64_MAX, INT64_MIN

Flagged = Callable[..., tuple[int, bool]]


@kernel
def _checked(a: int, b: int) -> tuple[tuple[int, bool], tuple[int, bool], tuple[int, bool]]:
    """Reach from Python what only kernels can call."""
    return wide.add_checked(a, b), wide.sub_checked(a, b), wide.mul_checked(a, b)


POWERS = [1 << bit for bit in range(63)]
BOUNDS = sorted(
    {sign * (power + offset) for power in POWERS for offset in (-1, 0, 1) for sign in (-1, 1)}
    | {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX, 10**9, -(10**9), 10**18, 3, -3}
)
INT64 = (
    st.sampled_from(BOUNDS) | st.integers(INT64_MIN, INT64_MAX) | st.integers(-(1 << 34), 1 << 34)
)


def fitted(value: int) -> tuple[int, bool]:
    """Return what a kernel must answer for an exact value."""
    return (value, True) if units.is_int64(value) else (0, False)


@settings(max_examples=1000, deadline=None)
@given(INT64, INT64)
def test_checked_operations_equal_integers(a: int, b: int) -> None:
    """Sum, difference and product are exact or flagged."""
    assert _checked(a, b) == (fitted(a + b), fitted(a - b), fitted(a * b))


@pytest.mark.parametrize(
    ("function", "twin"),
    [
        (wide.mul_div_floor, units.mul_div_floor),
        (wide.mul_div_ceil, units.mul_div_ceil),
        (wide.mul_div_half_even, units.mul_div_half_even),
    ],
)
def test_mul_div_equals_twin(function: Flagged, twin: Callable[[int, int, int], int]) -> None:
    """Every rounding, any signs, products of up to 127 bits."""

    @settings(max_examples=1500, deadline=None)
    @given(INT64, INT64, INT64.filter(bool))
    # Bounds of the result, the one quotient that traps the machine's divider, and exact ties.
    @example(INT64_MIN, 1, -1)
    @example(INT64_MIN, -1, 1)
    @example(INT64_MIN, INT64_MIN, INT64_MIN)
    @example(INT64_MAX, INT64_MAX, INT64_MAX)
    @example(INT64_MIN, INT64_MAX, INT64_MAX)
    @example(INT64_MAX, 3, 2)
    @example(INT64_MAX, INT64_MAX, 2)
    @example(INT64_MAX - 2, 5, 10)
    @example(-5, 1, 2)
    @example(5, 1, -2)
    @example(1 << 62, 7, 1 << 63 >> 1)
    def agree(a: int, b: int, c: int) -> None:
        value, fits = function(a, b, c)
        expected, expected_fits = fitted(twin(a, b, c))
        assert fits == expected_fits
        assert not fits or value == expected

    agree()


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_rounding_at_and_around_exact_quotients(data: st.DataObject) -> None:
    """Products that are a multiple of the divisor, or next to one, where rounding turns."""
    c = data.draw(st.integers(1, 1 << 40)) * data.draw(st.sampled_from((-1, 1)))
    quotient = data.draw(st.integers(-(1 << 60), 1 << 60))
    offset = data.draw(st.sampled_from((-1, 0, 1, abs(c) // 2)))
    product = quotient * c + offset
    factor = next(n for n in (c, 7, 5, 3, 2, 1) if product % n == 0)
    a, b = product // factor, factor
    if not units.is_int64(a):
        return
    for function, twin in (
        (wide.mul_div_floor, units.mul_div_floor),
        (wide.mul_div_ceil, units.mul_div_ceil),
        (wide.mul_div_half_even, units.mul_div_half_even),
    ):
        assert function(a, b, c) == (twin(a, b, c), True)


def test_zero_divisor_is_flagged() -> None:
    """Without an exception the machine would answer something; it answers that nothing fits."""
    for function in (wide.mul_div_floor, wide.mul_div_ceil, wide.mul_div_half_even):
        assert function(1, 1, 0) == (0, False)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    """Return integers below 2^bits, with runs of ones and zeros that make guessed digits wrong."""
    ends = st.sampled_from([0, 1, (1 << bits) - 1, 1 << bits - 1, (1 << 32) - 1, 1 << 32])
    return (st.integers(0, (1 << bits) - 1) | ends).map(lambda n: n % (1 << bits))


@settings(max_examples=2000, deadline=None)
@given(unsigned(64), unsigned(64), unsigned(64).filter(bool))
@example((1 << 64) - 2, (1 << 64) - 1, (1 << 64) - 1)
@example(0x7FFFFFFF80000000, 0, 0x8000000000000001)
def test_long_division_equals_divmod(high: int, low: int, divisor: int) -> None:
    """128 bits by 64, wherever the quotient fits 64."""
    high %= divisor
    quotient, remainder = wide.div_wide(np.uint64(high), np.uint64(low), np.uint64(divisor))
    assert (int(quotient), int(remainder)) == divmod(high << 64 | low, divisor)
