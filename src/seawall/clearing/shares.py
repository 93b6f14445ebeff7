"""A whole cut into integer shares that add up to it exactly (TEAR-*).

Ratios are compared as integers: two fractions with divisors below 2^62 differ by more than 2^-124
or not at all, so their floors at 2^128 compare as cross-multiplication would.
"""

RATIO_BITS = 128


def compute_ratio(numerator: int, divisor: int) -> int:
    """Return a number that orders fractions of 0 < divisor < 2^62 exactly, equal ones alike."""
    assert 0 < divisor < 1 << 62
    return (numerator << RATIO_BITS) // divisor


def split_to_last(total: int, weights: list[int]) -> list[int]:
    """Return shares in proportion to the weights, rounded down; the last takes the remainder.

    Parameters
    ----------
    total : >= 0
    weights : each > 0
    """
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    if shares:
        shares[-1] += total - sum(shares)
    return shares


def split_by_remainder(total: int, weights: list[int]) -> list[int]:
    """Return shares in proportion to the weights, what is left going to the largest fractions.

    Equal fractions are served in the order given. No share exceeds its proportion rounded up.
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [divmod(total * weight, whole) for weight in weights]
    shares = [part for part, _ in parts]
    left = total - sum(shares)
    ranked = sorted(range(len(parts)), key=lambda place: -parts[place][1])
    for place in ranked[:left]:
        shares[place] += 1
    return shares


def split_within(total: int, weights: list[int], caps: list[int]) -> list[int]:
    """Return shares in proportion to the weights, none above its cap; all caps if they fall short.

    Whoever would give more than its cap gives just that, and the others share what is left.

    Parameters
    ----------
    weights : each 0 < weight < 2^62
    caps : each >= 0
    """
    shares = list(caps)
    if sum(caps) <= total:
        return shares
    # In this order, once a share stays below its cap, all later ones do.
    ranked = sorted(range(len(caps)), key=lambda place: compute_ratio(caps[place], weights[place]))
    left, whole = total, sum(weights)
    for index, place in enumerate(ranked):
        if left * weights[place] <= caps[place] * whole:
            rest = sorted(ranked[index:])
            parts = split_by_remainder(left, [weights[other] for other in rest])
            for other, part in zip(rest, parts, strict=True):
                shares[other] = part
            break
        left -= caps[place]
        whole -= weights[place]
    return shares
