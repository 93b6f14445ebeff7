"""Figures as a transcript writes them: amounts with decimals and asset, times, prices, rates."""

import re
from collections.abc import Iterator, Sequence

from seawall.protocol.units import NS_PER_SECOND, PPB
from tests.scenarios.cast import ASSETS, DAY_NS, START_NS

_AMOUNT = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?")
_SPANS = {"s": NS_PER_SECOND, "m": 60 * NS_PER_SECOND, "h": 3600 * NS_PER_SECOND, "d": DAY_NS}


def decimal(value: int, digits: int) -> str:
    """Return value / 10**digits exactly, without trailing zeros."""
    sign, size = "-" if value < 0 else "", str(abs(value)).rjust(digits + 1, "0")
    whole, fraction = size[: len(size) - digits], size[len(size) - digits :].rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def cut(cells: Sequence[int], width: int) -> Iterator[Sequence[int]]:
    """Yield the cells in rows of one width."""
    assert len(cells) % width == 0
    for start in range(0, len(cells), width):
        yield cells[start : start + width]


def signed(text: str) -> str:
    """Return a figure with its sign said."""
    return text if text.startswith("-") else f"+{text}"


def amount(minor: int, asset: int) -> str:
    """Return an amount of an asset, such as `40.5 USD`."""
    return f"{decimal(minor, ASSETS[asset].decimals)} {ASSETS[asset].name}"


def ticks(price: int) -> str:
    """Return a price in USD; a tick is 0.1."""
    return decimal(price, 1)


def rate(ppb: int) -> str:
    """Return a rate in percent."""
    return f"{decimal(ppb, len(str(PPB)) - 3)}%"


def time_of(at_ns: int) -> str:
    """Return a time of day, with the days since the house opened when there are any."""
    days, rest = divmod(at_ns - START_NS, DAY_NS)
    seconds, fraction = divmod(rest, NS_PER_SECOND)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    text += f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{days}d {text}" if days else text


# Reading ------------------------------------------------------------------------------------


def read_decimal(text: str, digits: int) -> int:
    """Return text times 10**digits; `...m` is the integer itself."""
    if text.endswith("m"):
        return int(text[:-1])
    match = _AMOUNT.fullmatch(text)
    assert match, f"no amount: {text}"
    sign, whole, fraction = match[1], match[2], match[3] or ""
    assert len(fraction) <= digits, f"too fine: {text}"
    size = int(whole + fraction.ljust(digits, "0"))
    return -size if sign == "-" else size


def read_amount(text: str, asset: str) -> tuple[int, int]:
    """Return (asset, minor units); an asset that does not exist is given by number."""
    names = [terms.name for terms in ASSETS]
    if asset not in names:
        return int(asset), read_decimal(text, 0)
    place = names.index(asset)
    return place, read_decimal(text, ASSETS[place].decimals)


def read_time(text: str, now_ns: int) -> int:
    """Return a time: `+90s` from now, `01:30:00` of the first day, `3d` since then, or `12ns`."""
    if text.endswith("ns"):
        return int(text[:-2])
    if ":" in text:
        hours, minutes, seconds = (int(part) for part in text.split(":"))
        return START_NS + ((hours * 60 + minutes) * 60 + seconds) * NS_PER_SECOND
    span = int(text[1:-1] if text[0] in "+-" else text[:-1]) * _SPANS[text[-1]]
    if text[0] == "+":
        return now_ns + span
    return now_ns - span if text[0] == "-" else START_NS + span


def read_value(text: str) -> object:
    """Return a term or parameter: an integer, a percentage, a span or a truth; else the text."""
    if re.fullmatch(r"-?\d[\d_]*", text):
        return int(text)
    if text.endswith("%"):
        return read_decimal(text[:-1], len(str(PPB)) - 3)
    if re.fullmatch(r"\d+[smhd]", text):
        return int(text[:-1]) * _SPANS[text[-1]]
    return {"yes": True, "no": False}.get(text, text)
