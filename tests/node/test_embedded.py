"""A house in one process: what a notebook or a test would do with it."""

from pathlib import Path

import pytest

from seawall.node.charter import CharterFault, Terms, make_charter, open_charter
from seawall.node.clock import SystemClock
from seawall.node.effects import DoorFault
from seawall.node.embedded import Embedded, NotTaken
from seawall.node.receipts import Stopped
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    ActivateRules,
    AssetTerms,
    EffectStatus,
    Mode,
    OpenAccounts,
    RecordDeposits,
    Role,
    Tick,
    Withdraw,
)
from seawall.protocol.digest import digest
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import AccountsOpened, Repeated
from seawall.protocol.genesis import Limits
from seawall.protocol.ids import account_id
from seawall.protocol.units import NS_PER_HOUR

SENDERS = {
    "alice": Role.CLIENT,
    "custody": Role.CUSTODY,
    "clock": Role.CLOCK,
    "effects": Role.EFFECTS,
    "govern": Role.GOVERN,
}
TERMS = Terms("notebook", dict(SENDERS), (AssetTerms("USD", 6),))
ACCOUNT = account_id(1, 8)


class Till:
    """Pays, and remembers what."""

    def __init__(self) -> None:
        self.paid: dict[str, AnyEffect] = {}

    async def execute(self, key: str, effect: AnyEffect) -> EffectStatus:
        if key in self.paid:
            raise DoorFault("asked twice")
        self.paid[key] = effect
        return EffectStatus.DONE

    async def query(self, key: str) -> EffectStatus | None:
        return EffectStatus.DONE if key in self.paid else None


async def test_a_house_opens_answers_and_goes_on_where_it_was(tmp_path: Path) -> None:
    charter = open_charter(tmp_path, TERMS)
    async with Embedded.open(tmp_path, charter) as house:
        answer = await house.submit("alice", OpenAccounts(2, Mode.CROSS), request_id="first")
        (event,) = [e for e in answer.events if isinstance(e, AccountsOpened)]
        assert event.accounts == pack_int64([ACCOUNT, ACCOUNT + 1])
        refused = await house.submit("clock", OpenAccounts(1, Mode.CROSS))
        assert refused.rejected is not None
        assert refused.rejected.code == Reject.ROLE_MISSING
        statuses = house.status()
        assert {status.seq for status in statuses} == {3}
        assert len({status.chain for status in statuses}) == 1
        projection = house.projection
    async with Embedded.open(tmp_path, open_charter(tmp_path, TERMS)) as house:
        assert house.projection == projection
        assert house.front.feed.start.position.seq == 3
        answer = await house.submit("alice", OpenAccounts(1, Mode.CROSS))
        assert not any(isinstance(event, Repeated) for event in answer.events)
        assert house.projection.accounts_by_state()["healthy"] == 3


async def test_without_its_bookmark_a_house_reads_from_the_first_entry(tmp_path: Path) -> None:
    charter = open_charter(tmp_path, TERMS)
    async with Embedded.open(tmp_path, charter) as house:
        for count in range(1, 6):
            await house.submit("alice", OpenAccounts(count, Mode.CROSS))
        projection = house.projection
    (tmp_path / "bookmark" / "bookmark").unlink()
    async with Embedded.open(tmp_path, charter) as house:
        assert house.projection == projection


async def test_a_withdrawal_is_paid_once_over_a_restart(tmp_path: Path) -> None:
    charter, till = open_charter(tmp_path, TERMS), Till()
    deposit = RecordDeposits(1, 1, pack_int64([ACCOUNT]), pack_int32([0]), pack_int64([10**9]))
    async with Embedded.open(tmp_path, charter) as house:
        await house.submit("clock", Tick(NS_PER_HOUR))
        await house.submit("alice", OpenAccounts(1, Mode.CROSS))
        await house.submit("custody", deposit)
        await house.submit("alice", Withdraw(ACCOUNT, 0, 5, 1))
        assert len(house.projection.outbox) == 1
    for _ in range(2):
        async with Embedded.open(tmp_path, charter, venue=till) as house:
            while house.projection.outbox:
                await SystemClock().sleep(0.005)
            assert house.projection.counts.effects_done == 1
            figures = house.front.figures()
    assert (figures["pending_effects"], figures["kept_batches"]) == (0, 0)
    assert figures["released_seq"] == 6
    assert figures["effects_executed_total"] == 0  # in this last life
    assert list(till.paid) == ["5:0"]


async def test_the_same_name_happens_once(tmp_path: Path) -> None:
    charter = open_charter(tmp_path, TERMS)
    async with Embedded.open(tmp_path, charter) as house:
        for _ in range(3):
            await house.submit("alice", OpenAccounts(1, Mode.CROSS), request_id="one")
    async with Embedded.open(tmp_path, charter) as house:
        with pytest.raises(Stopped, match="no longer at hand"):
            # It happened before this life: its outcome is in the archive, not here.
            await house.submit("alice", OpenAccounts(1, Mode.CROSS), request_id="one")
        assert house.projection.counts.accounts_opened == 1


async def test_what_the_gateway_does_not_take_is_raised_with_its_code(tmp_path: Path) -> None:
    charter = open_charter(tmp_path, TERMS)
    async with Embedded.open(tmp_path, charter) as house:
        with pytest.raises(NotTaken) as told:
            await house.submit("govern", ActivateRules(9))
        assert told.value.refused.code is Reject.RULES_FUTURE


async def test_a_genesis_that_the_machine_would_refuse_opens_no_house(tmp_path: Path) -> None:
    terms = Terms("bad", dict(SENDERS), (AssetTerms("USD", 6),), limits=Limits(rows_max=7))
    charter = make_charter(terms, {name: digest(name.encode()) for name in [*SENDERS, "r"]})
    with pytest.raises(CharterFault, match="rows_max"):
        async with Embedded.open(tmp_path, charter):
            pass


async def test_a_log_of_another_house_is_refused(tmp_path: Path) -> None:
    charter = open_charter(tmp_path / "a", TERMS)
    async with Embedded.open(tmp_path / "a", charter):
        pass
    other = open_charter(tmp_path / "b", TERMS)
    with pytest.raises(CharterFault, match="another house"):
        async with Embedded.open(tmp_path / "a", other):
            pass
