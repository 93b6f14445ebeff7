"""A transcript: a title with the rule's id, then commands and what the house answered to each."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seawall.protocol.commands import Role
from seawall.protocol.units import NS_PER_MINUTE
from tests.scenarios.asking import QUESTIONS
from tests.scenarios.cast import changed, make_genesis
from tests.scenarios.figures import read_time, read_value
from tests.scenarios.stage import Seen, Stage
from tests.scenarios.verbs import COMMANDS, SOURCES, Said, read, used_feeds
from tests.scenarios.votes import VOTING

FOLDER = Path(__file__).parent
SILENCE = "ok"


class Played(NamedTuple):
    """What playing a transcript gave."""

    text: str
    seen: Seen
    findings: list[str]
    payloads: list[bytes]


def play(text: str) -> Played:
    """Play the commands of a transcript; its comments stay, its answers are given anew."""
    stage = Stage()
    title, *lines = text.splitlines()
    told = [title]
    for line in lines:
        if line.startswith("> "):
            told += [line, *(answer(stage, line[2:]) or [SILENCE])]
        elif line.startswith("#") or not line:
            told.append(line)
    while told[-1] == "":
        told.pop()
    told += ["", *stage.conservation()]
    return Played("\n".join(told) + "\n", stage.seen, stage.findings, stage.payloads)


def answer(stage: Stage, line: str) -> list[str]:
    """Return what the house answers to one line."""
    parts = read(line)
    first = parts[0]
    if first.verb in QUESTIONS:
        return list(QUESTIONS[first.verb](stage, first))
    if first.verb in SCENES:
        return list(SCENES[first.verb](stage, first))
    if first.verb in VOTING:
        return list(VOTING[first.verb](stage, first))
    return _send(stage, parts)


def _send(stage: Stage, parts: list[Said]) -> list[str]:
    sender = next((p.options.pop("by") for p in parts if "by" in p.options), "")
    stage.lines = parts[0].envelope.pop("lines", None) is not None
    envelope = parts[0].envelope
    commands = [COMMANDS[part.verb][1](stage, part) for part in parts]
    commands *= int(envelope.get("times", "1"))
    changes: dict[str, object] = {}
    if "log" in envelope:
        changes["log_id"] = bytes(32)
    if "number" in envelope:
        changes["number"] = int(envelope["number"])
    if "empty" in envelope:
        changes["commands"] = ()
    sender = sender or COMMANDS[parts[0].verb][0]
    return stage.send(sender, *commands, signer=envelope.get("signer", ""), **changes)


# Scenes: what takes more than one command, or none ---------------------------------------------


def house(stage: Stage, said: Said) -> Iterator[str]:
    """`house stale_ns=5m limits.outbox_max=1 assets[0].decimals=2 clock-2=CLOCK`."""
    roles = {name: Role[role] for name, role in said.options.items() if role in Role.__members__}
    genesis = make_genesis(roles)
    for path, text in said.options.items():
        if path in roles:
            continue
        whole = path if path.startswith(("limits", "assets", "senders", "replicas")) else ""
        whole = whole or (path if path in genesis.__struct_fields__ else f"parameters.{path}")
        genesis = changed(genesis, whole, read_value(text))
    yield from stage.open(genesis)


def move(stage: Stage, said: Said) -> Iterator[str]:
    """`move 5000 traded=5010 after=10m by=alpha,beta`: sources publish and the clock ticks.

    What lies more than a minute ahead begins with a tick, as nobody may publish from the future.
    """
    after = said.options.get("after", "1m")
    span_ns = read_time(f"+{after}", stage.now_ns) - stage.now_ns
    ahead_ns = min(span_ns, NS_PER_MINUTE)
    if span_ns > ahead_ns:
        yield from answer(stage, f"tick {stage.now_ns + span_ns - ahead_ns}ns")
    at_ns = stage.now_ns + ahead_ns
    spot = said.words[0]
    named = {"2": said.options.get("traded", spot)}
    values = " ".join(f"{feed}={named.get(str(feed), spot)}" for feed in used_feeds(stage))
    for source in said.options.get("by", ",".join(SOURCES)).split(","):
        yield from answer(stage, f"publish {values} at={at_ns}ns by={source}")
    yield from answer(stage, f"tick {at_ns}ns")


def resend(stage: Stage, said: Said) -> Iterator[str]:
    """`resend`: the last entry once more, bent by `cut=3`, `flip=70`, `version=9` or `kind=7`."""
    payload = stage.payloads[0] if "first" in said.words else stage.sent
    for change, text in said.options.items():
        value = int(text)
        if change == "cut":
            payload = payload[:-value]
        elif change == "flip":
            payload = _flipped(payload, value % len(payload))
        elif change == "more":
            payload += bytes(value)
        else:
            place = ("version", "kind").index(change)
            payload = payload[:place] + bytes([value]) + payload[place + 1 :]
    yield from stage.apply(payload)


def _flipped(payload: bytes, place: int) -> bytes:
    return payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]


def raw(stage: Stage, said: Said) -> Iterator[str]:
    """`bytes 0101`: an entry of just these bytes."""
    yield from stage.apply(bytes.fromhex(said.words[0]))


def fill(stage: Stage, said: Said) -> Iterator[str]:
    """`fill #3 b`: an order is done in full against an account, at its limit, and reported."""
    number, other = said.words
    key = stage.names.effects[int(number[1:]) - 1]
    order = stage.state.tables.outbox[key].effect
    mine = stage.names.account(order.account_id)  # type: ignore[union-attr]
    name = stage.names.contract(order.instrument_id).name  # type: ignore[union-attr]
    lots, limit = order.lots, order.limit_ticks  # type: ignore[union-attr]
    buyer, seller = (mine, other) if lots > 0 else (other, mine)
    yield from answer(stage, f"trade {buyer} {seller} {abs(lots)} {name} {limit}m")
    yield from answer(stage, f"report {number} done")


SCENES = {"house": house, "move": move, "resend": resend, "bytes": raw, "fill": fill}
