"""Exact integer arithmetic for kernels: overflow is a flag, products are 128 bits wide.

Plain twins: Python's own integers and `seawall.protocol.units.mul_div_*`.
Every function answers `(value, fits)`; when `fits` is false the value is 0 and means nothing.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import cgutils as numba_cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from seawall.clearing.kernels.columns import Table
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.protocol.units import INT64_MIN

# Without annotations of their own.
cgutils: Any = numba_cgutils
types: Any = numba_types

FLOOR, CEIL, HALF_EVEN = 0, 1, 2

# Unsigned constants are typed, because numba unifies uint64 with int64 to float64.
_U0, _U1, _U32, _U63, _U64 = (np.uint64(n) for n in (0, 1, 32, 63, 64))
_LOW_HALF = np.uint64((1 << 32) - 1)
_BASE = np.uint64(1 << 32)
_SIGN = np.uint64(1 << 63)

Flagged = Callable[[int, int], tuple[int, bool]]
_FLAGGED = types.Tuple((types.int64, types.boolean))


def _checked(operation: str) -> Flagged:
    """Return a function of two int64 that answers `(result, fits)`, by one LLVM operation."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pair = getattr(builder, operation)(*args)
        overflowed = builder.extract_value(pair, 1)
        zero = ir.Constant(ir.IntType(64), 0)
        value = builder.select(overflowed, zero, builder.extract_value(pair, 0))
        fits = builder.not_(overflowed)
        return context.make_tuple(builder, signature.return_type, (value, fits))

    @intrinsic
    def checked(_typing: Any, _a: Any, _b: Any) -> Any:
        return _FLAGGED(types.int64, types.int64), generate

    return cast(Flagged, checked)


add_checked = _checked("sadd_with_overflow")
mul_checked = _checked("smul_with_overflow")
sub_checked = _checked("ssub_with_overflow")


@intrinsic
def _mul_wide(_typing: Any, _a: Any, _b: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double = ir.IntType(128)
        product = builder.mul(*(builder.zext(arg, double) for arg in args))
        high = builder.lshr(product, ir.Constant(double, 64))
        halves = [builder.trunc(part, ir.IntType(64)) for part in (high, product)]
        return context.make_tuple(builder, signature.return_type, halves)

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate


@intrinsic
def _leading_zeros(_typing: Any, _a: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate


@intrinsic
def _prefetch(_typing: Any, array: Any, _row: Any, _word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table = context.make_array(signature.args[0])(context, builder, args[0])
        address = cgutils.get_item_pointer(
            context, builder, signature.args[0], table, list(args[1:]), wraparound=False
        )
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        ask = builder.module.declare_intrinsic(
            "llvm.prefetch", (byte,), ir.FunctionType(ir.VoidType(), [byte] + [number] * 3)
        )
        # To be written, kept in all caches, data.
        flags = [ir.Constant(number, flag) for flag in (1, 3, 1)]
        builder.call(ask, [builder.bitcast(address, byte), *flags])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp), generate


mul_wide = cast(Callable[[np.uint64, np.uint64], tuple[np.uint64, np.uint64]], _mul_wide)
"""Unsigned 128-bit product as (high, low)."""
leading_zeros = cast(Callable[[np.uint64], np.uint64], _leading_zeros)
"""How many high bits of a non-zero number are zero."""
prefetch = cast(Callable[[Table, int, int], None], _prefetch)
"""Ask memory for the cache line of table[row, word], soon to be written; changes no value."""


@kernel
def div_wide(high: np.uint64, low: np.uint64, divisor: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return quotient and remainder of the 128-bit `high:low` by `divisor` > `high`.

    Source: Knuth, The Art of Computer Programming, volume 2, section 4.3.1, algorithm D, with two
    digits of 32 bits each. `high < divisor` makes the quotient fit 64 bits.
    """
    # Normalise, so that a guessed digit is at most two too large.
    shift = leading_zeros(divisor)
    divisor <<= shift
    if shift != _U0:
        high = (high << shift) | (low >> (_U64 - shift))
        low <<= shift
    upper, lower = divisor >> _U32, divisor & _LOW_HALF
    rest = high
    quotient = _U0
    for digit in (low >> _U32, low & _LOW_HALF):
        guess = rest // upper
        left = rest - guess * upper
        while guess >= _BASE or guess * lower > ((left << _U32) | digit):
            guess -= _U1
            left += upper
            if left >= _BASE:
                break
        # The true difference is in [0, divisor), so wrapping modulo 2^64 loses nothing.
        rest = ((rest << _U32) | digit) - guess * divisor
        quotient = (quotient << _U32) | guess
    return quotient, rest >> shift


@inlined
def _magnitude(a: int) -> np.uint64:
    """Return |a| as uint64; the magnitude of the least int64 is 2^63."""
    return np.uint64(a) if a >= 0 else _U0 - np.uint64(a)


@kernel
def _mul_div_wide(a: int, b: int, c: int, rounding: int) -> tuple[int, bool]:
    """Return a * b / c through the 128-bit product; `c` != 0."""
    divisor = _magnitude(c)
    high, low = mul_wide(_magnitude(a), _magnitude(b))
    if high >= divisor:
        return 0, False
    quotient, remainder = div_wide(high, low, divisor)
    if quotient > _SIGN:
        return 0, False
    negative = ((a < 0) != (b < 0)) != (c < 0)
    if remainder != _U0:
        if rounding == HALF_EVEN:
            rest = divisor - remainder
            away = remainder > rest or (remainder == rest and (quotient & _U1) != _U0)
        else:
            away = negative == (rounding == FLOOR)
        if away:
            quotient += _U1
    if negative:
        return int(np.int64(_U0 - quotient)), bool(quotient <= _SIGN)
    return int(np.int64(quotient)), bool(quotient < _SIGN)


@inlined
def mul_div_floor(a: int, b: int, c: int) -> tuple[int, bool]:
    """Return `(a * b / c, fits)`, rounded down; `fits` is false too when `c` is zero."""
    product, fits = mul_checked(a, b)
    if c == 0:
        return 0, False
    if fits and product != INT64_MIN:
        return product // c, True
    return _mul_div_wide(a, b, c, FLOOR)


@inlined
def mul_div_ceil(a: int, b: int, c: int) -> tuple[int, bool]:
    """Return `(a * b / c, fits)`, rounded up; `fits` is false too when `c` is zero."""
    product, fits = mul_checked(a, b)
    if c == 0:
        return 0, False
    if fits and product != INT64_MIN:
        return -(-product // c), True
    return _mul_div_wide(a, b, c, CEIL)


@inlined
def mul_div_half_even(a: int, b: int, c: int) -> tuple[int, bool]:
    """Return `(a * b / c, fits)`, to nearest, ties to even; false too when `c` is zero."""
    if c == 0:
        return 0, False
    return _mul_div_wide(a, b, c, HALF_EVEN)
