"""The charter of a house: its genesis and the keys of those it names, kept in a folder."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from seawall.node.keys import make_seed, read_key, write_seed
from seawall.protocol.codec import decode_payload, encode_genesis, log_id_of
from seawall.protocol.commands import AssetTerms, ReplicaTerms
from seawall.protocol.genesis import (
    RULES_VERSION,
    Genesis,
    Limits,
    Parameters,
    SenderTerms,
)
from seawall.protocol.signatures import SigningKey

GENESIS_FILE = "genesis.bin"
KEYS_FOLDER = "keys"
REPLICA_PREFIX = "replica-"


class CharterFault(Exception):
    """The folder holds no charter that can be read."""


class Terms(msgspec.Struct, frozen=True):
    """What a new house is to be; keys are made for all whom it names."""

    name: str
    senders: dict[str, int]
    """Roles by name; ids follow the order, from 1."""
    assets: tuple[AssetTerms, ...]
    at_ns: int = 0
    replicas: int = 3
    limits: Limits = Limits()
    parameters: Parameters = Parameters()


class Charter:
    """Genesis, and the keys that are held here, by name of sender or replica."""

    def __init__(self, genesis: Genesis, keys: Mapping[str, SigningKey]) -> None:
        self.genesis = genesis
        self.keys = dict(keys)
        self.payload = encode_genesis(genesis)
        self.log_id = log_id_of(self.payload)

    @property
    def replica_names(self) -> tuple[str, ...]:
        """The voters' names, in order."""
        return tuple(terms.name for terms in self.genesis.replicas)

    def sender_id(self, name: str) -> int:
        """Return the id that the log knows a sender by."""
        names = [terms.name for terms in self.genesis.senders]
        return names.index(name) + 1

    def sender_keys(self) -> dict[int, SigningKey]:
        """Return the keys of senders that are held here, by sender id."""
        return {
            sender_id: self.keys[terms.name]
            for sender_id, terms in enumerate(self.genesis.senders, 1)
            if terms.name in self.keys
        }

    @classmethod
    def load(cls, folder: Path) -> "Charter":
        """Read the charter in `folder`, with the keys that are there.

        Raises
        ------
        CharterFault
            There is no genesis that can be read.
        KeyFault
            A key file is not as it must be.
        """
        genesis = read_genesis(folder / GENESIS_FILE)
        keys = {path.stem: read_key(path) for path in sorted((folder / KEYS_FOLDER).glob("*.seed"))}
        return cls(genesis, keys)


def read_genesis(path: Path) -> Genesis:
    """Return the genesis in a file. Raises `CharterFault` when there is none."""
    try:
        payload = path.read_bytes()
    except OSError as fault:
        raise CharterFault(f"{path}: {fault.strerror}") from fault
    genesis = decode_payload(payload)
    if not isinstance(genesis, Genesis):
        raise CharterFault(f"{path}: holds no genesis")
    return genesis


def found(folder: Path, terms: Terms) -> Charter:
    """Make keys for a new house, write them and its genesis to `folder`, return the charter.

    Raises
    ------
    FileExistsError
        If a house was founded there before.
    """
    seeds = {name: make_seed() for name in terms.senders}
    replica_names = tuple(f"{REPLICA_PREFIX}{index + 1}" for index in range(terms.replicas))
    seeds |= {name: make_seed() for name in replica_names}
    charter = make_charter(terms, seeds)
    for name, seed in seeds.items():
        write_seed(folder / KEYS_FOLDER / f"{name}.seed", seed)
    with (folder / GENESIS_FILE).open("xb") as file:
        file.write(charter.payload)
    return charter


def open_charter(folder: Path, terms: Terms) -> Charter:
    """Return the charter in `folder`; the house is founded there if it is not yet."""
    if (folder / GENESIS_FILE).exists():
        return Charter.load(folder)
    return found(folder, terms)


def make_charter(terms: Terms, seeds: Mapping[str, bytes]) -> Charter:
    """Return the charter of a house whose keys are made from `seeds`, by name."""
    keys = {name: SigningKey(seed) for name, seed in seeds.items()}
    replica_names = [name for name in seeds if name not in terms.senders]
    genesis = Genesis(
        name=terms.name,
        at_ns=terms.at_ns,
        rules_version=RULES_VERSION,
        limits=terms.limits,
        assets=terms.assets,
        senders=tuple(
            SenderTerms(name, keys[name].public_key, int(roles))
            for name, roles in terms.senders.items()
        ),
        replicas=tuple(ReplicaTerms(name, keys[name].public_key) for name in replica_names),
        parameters=terms.parameters,
    )
    return Charter(genesis, keys)
