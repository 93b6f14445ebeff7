"""No entry, whoever signs it, makes an outcome larger than a replica may publish."""

import numpy as np
import pytest

from seawall.clearing.machine import Machine
from seawall.protocol.codec import (
    decode_outcome,
    encode_batch,
    encode_genesis,
    log_id_of,
    pack_int32,
    pack_int64,
    unpack_int64,
)
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    AnyCommand,
    AssetTerms,
    Batch,
    Mode,
    OpenAccounts,
    RecordDeposits,
    RecordTrades,
    ReplicaTerms,
    Role,
    Tick,
)
from seawall.protocol.events import AccountsOpened, EntryRefused, Outcome, Rejected, TimeMoved
from seawall.protocol.genesis import COMMANDS_MAX, Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.signatures import SigningKey
from seawall.replica.log import PAYLOAD_BYTES_MAX
from seawall.replica.machine import OUTCOME_BYTES_MAX

KEY = SigningKey(bytes(32))
ALL = int(sum(Role))


class Driver:
    """A machine and one sender with every role."""

    def __init__(self) -> None:
        genesis = encode_genesis(
            Genesis(
                "bounds",
                1,
                1,
                Limits(accounts_max=40_000, column_max=1 << 14),
                (AssetTerms("USD", 6),),
                (SenderTerms("all", KEY.public_key, ALL),),
                (ReplicaTerms("r1", KEY.public_key),),
                Parameters(audit_lines_max=1 << 20),
            )
        )
        self.machine = Machine()
        self.log_id = log_id_of(genesis)
        self.machine.apply(1, genesis)
        self.number = 0
        self.size = 0

    def send(self, *commands: AnyCommand) -> Outcome:
        payload = encode_batch(Batch(self.log_id, 1, self.number + 1, commands), KEY)
        assert len(payload) <= PAYLOAD_BYTES_MAX
        outcome = self.machine.apply(self.machine.seq + 1, payload)
        decoded = decode_outcome(outcome)
        if not isinstance(decoded.events[0], EntryRefused):
            self.number += 1
        self.size = len(outcome)
        assert self.size <= OUTCOME_BYTES_MAX
        return decoded


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_a_batch_has_a_largest_number_of_commands(driver: Driver) -> None:
    many = tuple(Tick(2) for _ in range(COMMANDS_MAX + 1))
    assert driver.send(*many).events == (EntryRefused(Reject.COMMANDS_MANY, "commands"),)
    refused = driver.send(*many[:-1]).events
    # The first moves time; every other one would move it a second time in this entry.
    assert sum(isinstance(event, TimeMoved) for event in refused) == 1
    codes = [event.code for event in refused if isinstance(event, Rejected)]
    assert codes == [Reject.TIME_RANGE] * (COMMANDS_MAX - 1)


def test_the_largest_columns_stay_within_the_bound(driver: Driver) -> None:
    ids: list[int] = []
    for _ in range(2):
        opened = driver.send(OpenAccounts(1 << 14, Mode.CROSS)).events
        ids += next(unpack_int64(e.accounts) for e in opened if isinstance(e, AccountsOpened))
    count = 1 << 14
    driver.send(
        RecordDeposits(
            1, 1, pack_int64(ids[:count]), pack_int32([0] * count), pack_int64([1] * count)
        )
    )
    # Fills that nobody can book still cost a result each.
    fills = 14_000
    side = np.array(ids[:fills], np.int64).tobytes()
    other = np.array(ids[-fills:], np.int64).tobytes()
    lots = np.ones(fills, np.int64).tobytes()
    instruments = np.ones(fills, np.int32).tobytes()
    trades = [
        RecordTrades(2, number, side, other, instruments, lots, lots, bytes(fills))
        for number in (1, 2)
    ]
    driver.send(*trades)
    assert driver.size > 1 << 20
