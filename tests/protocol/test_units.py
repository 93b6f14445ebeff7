"""Named roundings are exact for any int64 inputs."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.protocol.units import (
    AMOUNT_MAX,
    INT64_MAX,
    INT64_MIN,
    is_amount,
    is_int64,
    mul_div_ceil,
    mul_div_floor,
    mul_div_half_even,
)

EDGES = [0, 1, -1, 2, -2, INT64_MAX, INT64_MIN, INT64_MAX - 1, 1 << 32, -(1 << 32), 10**9]
int64 = st.one_of(st.sampled_from(EDGES), st.integers(INT64_MIN, INT64_MAX))


@given(int64, int64, int64.filter(bool))
def test_roundings_equal_exact_fractions(a: int, b: int, c: int) -> None:
    exact = Fraction(a * b, c)
    assert mul_div_floor(a, b, c) == floor(exact)
    assert mul_div_ceil(a, b, c) == ceil(exact)
    assert mul_div_half_even(a, b, c) == round(exact)


@pytest.mark.parametrize(
    ("a", "c", "expected"), [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (3, -2, -2)]
)
def test_ties_go_to_the_even_integer(a: int, c: int, expected: int) -> None:
    assert mul_div_half_even(a, 1, c) == expected


def test_bounds() -> None:
    assert is_int64(INT64_MAX)
    assert not is_int64(INT64_MAX + 1)
    assert not is_int64(INT64_MIN - 1)
    assert is_amount(-AMOUNT_MAX)
    assert not is_amount(AMOUNT_MAX + 1)
    assert 2 * AMOUNT_MAX <= INT64_MAX
