"""The inner loop of portfolio margin as LLVM vectors: sums of scenarios that stay in registers.

Numba cannot keep an array of sums in registers, as it might alias an input, so each product would
cost a load and a store. Vectors of eight lanes given to LLVM become the machine's own, whatever
their width. The plain version of the same loop is `rows.worst_rows_plain`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from llvmlite import ir
from numba.core import cgutils as numba_cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

from seawall.clearing.kernels.columns import Column, Column32, Table32

# Without annotations of their own.
cgutils: Any = numba_cgutils
types: Any = numba_types

WorstOf = Callable[[Table32, Column32, Column | Column32, int, int, int], tuple[int, int]]

LANES = 8
"""Scenarios in one vector; risk rows are padded to a multiple of it."""

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_SUMS, _RISKS = ir.VectorType(_I64, LANES), ir.VectorType(_I32, LANES)
_NOTHING = ir.Constant(_SUMS, None)


class _Operands(NamedTuple):
    """LLVM values of one call: addresses of first elements, then the positions' range."""

    risk: Any
    stride: Any
    instrument: Any
    lots: Any
    begin: Any
    end: Any


class _Shape(NamedTuple):
    """What one compiled loop is for."""

    tiles: int
    is_narrow: bool
    """Lots are known to fit 32 bits: machines multiply 32 by 32 bits three times as fast."""


def _splat(builder: Any, scalar: Any) -> Any:
    """Return a vector that holds one int64 in every lane."""
    empty = ir.Constant(_SUMS, ir.Undefined)
    one = builder.insert_element(empty, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, empty, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _products(builder: Any, operands: _Operands, position: Any, shape: _Shape) -> list[Any]:
    """Return lots * risk of one position, one vector per tile."""
    instrument = builder.load(builder.gep(operands.instrument, [position]))
    offset = builder.mul(builder.sext(instrument, _I64), operands.stride)
    row = builder.gep(operands.risk, [offset])
    lots = builder.load(builder.gep(operands.lots, [position]))
    if shape.is_narrow and lots.type.width > _I32.width:
        lots = builder.trunc(lots, _I32)
    amount = _splat(builder, builder.sext(lots, _I64))
    products = []
    for tile in range(shape.tiles):
        address = builder.gep(row, [ir.Constant(_I64, tile * LANES)])
        # Rows are aligned to an int32 only: the table need not start on a cache line.
        values = builder.load(builder.bitcast(address, _RISKS.as_pointer()), align=4)
        products.append(builder.mul(builder.sext(values, _SUMS), amount))
    return products


def _sum_positions(builder: Any, operands: _Operands, shape: _Shape) -> list[Any]:
    """Emit the loop over positions; return the sums, one vector per tile."""
    before = builder.block
    body, after = (builder.append_basic_block(name) for name in ("position", "summed"))
    builder.cbranch(builder.icmp_signed("<", operands.begin, operands.end), body, after)

    builder.position_at_end(body)
    position = builder.phi(_I64)
    sums = [builder.phi(_SUMS) for _ in range(shape.tiles)]
    products = _products(builder, operands, position, shape)
    grown = [builder.add(total, product) for total, product in zip(sums, products, strict=True)]
    following = builder.add(position, ir.Constant(_I64, 1))
    position.add_incoming(operands.begin, before)
    position.add_incoming(following, body)
    builder.cbranch(builder.icmp_signed("<", following, operands.end), body, after)

    builder.position_at_end(after)
    totals = [builder.phi(_SUMS) for _ in range(shape.tiles)]
    for total, growing, larger in zip(totals, sums, grown, strict=True):
        for phi in (total, growing):
            phi.add_incoming(_NOTHING, before)
            phi.add_incoming(larger, body)
    return totals


def _least(builder: Any, sums: list[Any]) -> tuple[Any, Any]:
    """Return the least of all lanes and the lowest index that holds it."""
    low = sums[0]
    for other in sums[1:]:
        low = builder.select(builder.icmp_signed("<", other, low), other, low)
    reduce = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_I64, [_SUMS]), f"llvm.vector.reduce.smin.v{LANES}i64"
    )
    least = builder.call(reduce, [low])
    wanted = _splat(builder, least)
    found = ir.Constant(_I64, 0)
    for tile, total in enumerate(sums):
        lanes = builder.bitcast(builder.icmp_signed("==", total, wanted), _I8)
        shifted = builder.shl(builder.zext(lanes, _I64), ir.Constant(_I64, tile * LANES))
        found = builder.or_(found, shifted)
    return least, builder.cttz(found, cgutils.true_bit)


def _worst_of(shape: _Shape) -> WorstOf:
    """Return the kernel function that finds the least sum over some vectors of scenarios.

    It takes the risk table, instruments, lots, the positions `begin` to `end` and the first
    scenario, and returns the least sum and its lowest index counted from that scenario.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        risk, instrument, lots = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], args[:3], strict=True)
        )
        begin, end, first = args[3:]
        stride = builder.extract_value(risk.shape, 1)
        start = builder.gep(risk.data, [first])
        operands = _Operands(start, stride, instrument.data, lots.data, begin, end)
        pair = _least(builder, _sum_positions(builder, operands, shape))
        return context.make_tuple(builder, signature.return_type, pair)

    @intrinsic
    def worst_of_tiles(
        _typing: Any, risk: Any, instrument: Any, lots: Any, _begin: Any, _end: Any, _first: Any
    ) -> Any:
        pair, number = types.UniTuple(types.int64, 2), types.int64
        return pair(risk, instrument, lots, number, number, number), generate

    return cast(WorstOf, worst_of_tiles)


worst_of_1, worst_of_2, worst_of_4 = (_worst_of(_Shape(tiles, False)) for tiles in (1, 2, 4))
narrow_of_1, narrow_of_2, narrow_of_4 = (_worst_of(_Shape(tiles, True)) for tiles in (1, 2, 4))
