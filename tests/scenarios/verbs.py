"""What a transcript can say: each verb makes a command of its usual sender, or asks a question.

A line is `> verb words option=value !envelope=value`. Commands joined by ` ; ` are one batch.
"""

import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from seawall.clearing.kernels.fills import BUYER_TAKES
from seawall.clearing.layout import FEED_USED
from seawall.clearing.reports import report_digest
from seawall.clearing.riskbook import risk_digest
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    AnyCommand,
    AttestRisk,
    CloseAccount,
    ConfirmReport,
    EffectStatus,
    ListInstrument,
    Mode,
    OpenAccounts,
    OpenSubAccounts,
    PublishPrices,
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReplicaTerms,
    ReportEffect,
    Role,
    RotateKey,
    SetHalt,
    SetMode,
    SetParameter,
    SetReplicas,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.ids import ROW_BITS
from tests.scenarios.cast import CONTRACTS, FEEDS, changed, key_of
from tests.scenarios.figures import read_amount, read_decimal, read_time, read_value
from tests.scenarios.stage import Stage

TRADES_STREAM, DEPOSITS_STREAM = 1, 2
SOURCES = ("alpha", "beta", "gamma")


class Said(NamedTuple):
    """One part of a line."""

    verb: str
    words: list[str]
    options: dict[str, str]
    envelope: dict[str, str]


def read(line: str) -> list[Said]:
    """Return the parts of a line."""
    parts = []
    for part in line.split(" ; "):
        verb, *rest = shlex.split(part)
        words = [word for word in rest if "=" not in word and not word.startswith("!")]
        pairs = [word.partition("=") for word in rest if "=" in word or word.startswith("!")]
        options = {key: value for key, _, value in pairs if not key.startswith("!")}
        envelope = {key[1:]: value for key, _, value in pairs if key.startswith("!")}
        parts.append(Said(verb, words, options, envelope))
    return parts


def find(stage: Stage, name: str) -> int:
    """Return an account's id; `3.40` is generation 3 of row 40, whether or not it exists."""
    if name in stage.names.accounts:
        return stage.names.accounts[name]
    if "." in name:
        generation, row = name.split(".")
        return int(generation) << ROW_BITS | int(row)
    return int(name)


def find_contract(stage: Stage, name: str) -> int:
    """Return an instrument's id by name or number; 0 is all."""
    listed = [terms.name for terms in stage.names.contracts]
    if name in listed:
        return listed.index(name) + 1
    return 0 if name == "all" else int(name)


def price(text: str) -> int:
    """Return a price in ticks of 0.1."""
    return read_decimal(text, 1)


# Commands -----------------------------------------------------------------------------------


def tick(stage: Stage, said: Said) -> AnyCommand:
    return Tick(read_time(said.words[0], stage.now_ns))


def rules(stage: Stage, said: Said) -> AnyCommand:
    return ActivateRules(int(said.words[0]))


def set_parameter(stage: Stage, said: Said) -> AnyCommand:
    value = read_value(said.words[1])
    assert isinstance(value, int)
    return SetParameter(said.words[0], value)


def admit(stage: Stage, said: Said) -> AnyCommand:
    name, *roles = said.words
    bits = sum(int(word) if word.isdigit() else Role[word] for word in roles)
    size = int(said.options.get("bytes", "32"))
    return AddSender(name, key_of(name).public_key[:size], bits)


def rotate(stage: Stage, said: Said) -> AnyCommand:
    """`rotate desk other`: the sender gets the key of another name, or none."""
    subject, *name = said.words
    place = stage.names.senders.index(subject) + 1 if subject in stage.names.senders else 99
    if not name:
        return RotateKey(place, b"")
    return RotateKey(place, stage.key(name[0]).public_key[: int(said.options.get("bytes", "32"))])


def set_replicas(stage: Stage, said: Said) -> AnyCommand:
    return SetReplicas(tuple(ReplicaTerms(name, key_of(name).public_key) for name in said.words))


def list_instrument(stage: Stage, said: Said) -> AnyCommand:
    name = said.words[0] if said.words else ""
    terms = CONTRACTS[said.options.get("like", name)]
    terms = msgspec.structs.replace(terms, name=name)
    for path, text in said.options.items():
        if path != "like":
            terms = changed(terms, path, _term(stage, text))
    return ListInstrument(terms)


def _term(stage: Stage, text: str) -> object:
    return read_time(text[1:], stage.now_ns) if text.startswith("@") else read_value(text)


def halt(stage: Stage, said: Said) -> AnyCommand:
    until_ns = read_time(said.words[1], stage.now_ns)
    return SetHalt(find_contract(stage, said.words[0]), until_ns)


def resume(stage: Stage, said: Said) -> AnyCommand:
    return SetHalt(find_contract(stage, said.words[0]), 0)


def open_accounts(stage: Stage, said: Said) -> AnyCommand:
    mode = said.options.get("mode", "cross")
    number = int(mode) if mode.isdigit() else Mode[mode.upper()]
    stage.names.opening = list(said.words)
    count = int(said.options.get("count", len(said.words)))
    return OpenAccounts(count, number, int(said.options.get("member", "0")))


def open_subs(stage: Stage, said: Said) -> AnyCommand:
    """Each word is `parent/name`, and that is the alias too."""
    stage.names.opening = list(said.words)
    return OpenSubAccounts(
        pack_int64([find(stage, word.rpartition("/")[0]) for word in said.words])
        + bytes(int(said.options.get("more", "0")))
    )


def close(stage: Stage, said: Said) -> AnyCommand:
    return CloseAccount(find(stage, said.words[0]))


def set_mode(stage: Stage, said: Said) -> AnyCommand:
    mode = said.words[1]
    return SetMode(find(stage, said.words[0]), int(mode) if mode.isdigit() else Mode[mode.upper()])


def withdraw(stage: Stage, said: Said) -> AnyCommand:
    asset, minor = read_amount(*said.words[1:3])
    return Withdraw(find(stage, said.words[0]), asset, minor, int(said.options.get("to", "1")))


def transfer(stage: Stage, said: Said) -> AnyCommand:
    asset, minor = read_amount(*said.words[2:4])
    return Transfer(find(stage, said.words[0]), find(stage, said.words[1]), asset, minor)


def _numbered(stage: Stage, said: Said, stream: int) -> tuple[int, int]:
    """Return stream and number of a report: the next to be booked, unless said."""
    stream = int(said.options.get("stream", stream))
    booked = stage.state.tables.streams.get(stream, 0)
    return stream, int(said.options.get("number", booked + 1))


def _spoil(said: Said, columns: dict[str, bytes]) -> dict[str, bytes]:
    """Return columns with a byte cut off one of them (`chop=lots`), or all empty (`clear=yes`)."""
    if "chop" in said.options:
        name = said.options["chop"]
        columns[name] = columns[name][:-1]
    if "clear" in said.options:
        columns = dict.fromkeys(columns, b"")
    return columns


def deposit(stage: Stage, said: Said) -> AnyCommand:
    """`deposit a 100 USD b 2 XBT`."""
    triples = [said.words[i : i + 3] for i in range(0, len(said.words), 3)]
    money = [read_amount(text, asset) for _, text, asset in triples]
    columns = {
        "accounts": pack_int64([find(stage, name) for name, _, _ in triples]),
        "assets": pack_int32([asset for asset, _ in money]),
        "amounts": pack_int64([minor for _, minor in money]),
    }
    stream, number = _numbered(stage, said, DEPOSITS_STREAM)
    command = RecordDeposits(stream, number, **_spoil(said, columns))
    stage.told[stream, number] = command
    return command


def trade(stage: Stage, said: Said) -> AnyCommand:
    """`trade buyer seller lots NAME price`, and more of them; `taker=seller`, `repeat=100`."""
    fills = [said.words[i : i + 5] for i in range(0, len(said.words), 5)]
    fills *= int(said.options.get("repeat", "1"))
    takes = 0 if said.options.get("taker") == "seller" else BUYER_TAKES
    columns = {
        "buyers": pack_int64([find(stage, fill[0]) for fill in fills]),
        "sellers": pack_int64([find(stage, fill[1]) for fill in fills]),
        "instruments": pack_int32([find_contract(stage, fill[3]) for fill in fills]),
        "lots": pack_int64([int(fill[2]) for fill in fills]),
        "prices": pack_int64([price(fill[4]) for fill in fills]),
        "flags": bytes([takes]) * len(fills),
    }
    stream, number = _numbered(stage, said, TRADES_STREAM)
    command = RecordTrades(stream, number, **_spoil(said, columns))
    stage.told[stream, number] = command
    return command


def confirm(stage: Stage, said: Said) -> AnyCommand:
    """`confirm stream number`: the digest of what was told last under it, unless `digest=wrong`."""
    key = int(said.words[0]), int(said.words[1])
    told = report_digest(stage.told[key]) if key in stage.told else bytes(32)
    return ConfirmReport(*key, bytes(32) if said.options.get("digest") else told)


def publish(stage: Stage, said: Said) -> AnyCommand:
    """`publish index=5000 traded=5001 at=+30s`; feeds by name or number."""
    options = dict(said.options)
    observed_ns = read_time(options.pop("at", "+0s"), stage.now_ns)
    marks: list[str] = [key for key in ("clear", "chop") if key in options]
    spoilt = {key: options.pop(key) for key in marks}
    columns = {
        "feeds": pack_int32([FEEDS.get(feed) or int(feed) for feed in options]),
        "values": pack_int64([price(text) for text in options.values()]),
    }
    return PublishPrices(observed_ns, **_spoil(said._replace(options=spoilt), columns))


def propose(stage: Stage, said: Said) -> AnyCommand:
    """`propose unit PERP:-5,3 CALL:-7,9@200 scale=1000 expires=+1d`; @ is the value of a lot."""
    unit, *parts = said.words
    instruments, rows, values = [], [], []
    for part in parts:
        name, _, cells = part.partition(":")
        cells, _, worth = cells.partition("@")
        instruments.append(find_contract(stage, name))
        rows.append([int(cell) for cell in cells.split(",")])
        values.append(int(worth or "0"))
    columns = {
        "instruments": pack_int32(instruments),
        "rows": pack_int32([cell for row in rows for cell in row]),
        "values": pack_int64(values),
    }
    command = PublishRisk(
        unit_id=int(unit),
        row_count=int(said.options.get("count", len(rows[0]))),
        scale=int(said.options.get("scale", "1000000")),
        expires_at_ns=read_time(said.options.get("expires", "+1d"), stage.now_ns),
        row_names=tuple(said.options["names"].split(",")) if "names" in said.options else (),
        **_spoil(said, columns),
    )
    stage.proposed[command.unit_id] = risk_digest(command)
    return command


def attest(stage: Stage, said: Said) -> AnyCommand:
    unit = int(said.words[0])
    told = stage.proposed.get(unit, bytes(32))
    return AttestRisk(unit, bytes(32) if said.options.get("digest") else told)


def report(stage: Stage, said: Said) -> AnyCommand:
    """`report #2 done`, or `report 9:0 failed` of a key."""
    name, status = said.words
    if name.startswith("#"):
        seq, index = stage.names.effects[int(name[1:]) - 1]
    else:
        seq, index = (int(part) for part in name.split(":"))
    return ReportEffect(
        seq, index, int(status) if status.isdigit() else EffectStatus[status.upper()]
    )


Verb = Callable[[Stage, Said], AnyCommand]
COMMANDS: dict[str, tuple[str, Verb]] = {
    "tick": ("clock", tick),
    "rules": ("govern", rules),
    "set": ("govern", set_parameter),
    "admit": ("govern", admit),
    "rotate": ("govern", rotate),
    "replicas": ("govern", set_replicas),
    "list": ("govern", list_instrument),
    "halt": ("operate", halt),
    "resume": ("operate", resume),
    "open": ("client", open_accounts),
    "sub": ("client", open_subs),
    "close": ("client", close),
    "mode": ("client", set_mode),
    "withdraw": ("client", withdraw),
    "transfer": ("client", transfer),
    "deposit": ("custody", deposit),
    "trade": ("venue", trade),
    "confirm": ("venue", confirm),
    "publish": ("alpha", publish),
    "propose": ("risk", propose),
    "attest": ("attest", attest),
    "report": ("effects", report),
}


def used_feeds(stage: Stage) -> Sequence[int]:
    """Return the feeds that something is priced by."""
    return [f for f in range(stage.state.limits.feeds_max) if stage.state.feed[f, FEED_USED]]
