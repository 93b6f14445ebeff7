"""A house in one process: found it, open an account, fund it, read what a majority says."""

import asyncio
import tempfile
from pathlib import Path

from seawall.node.build import use_kernel_cache

use_kernel_cache()

from seawall.node.charter import Terms, open_charter
from seawall.node.embedded import Embedded
from seawall.protocol.codec import pack_int32, pack_int64, unpack_int64
from seawall.protocol.commands import (
    AssetTerms,
    Mode,
    OpenAccounts,
    RecordDeposits,
    Role,
    Withdraw,
)
from seawall.protocol.events import AccountsOpened


async def main(folder: Path) -> None:
    """Deposit 100 dollars, then ask for 150."""
    desk = int(Role.CLIENT | Role.CUSTODY | Role.CLOCK)
    terms = Terms(name="first", senders={"desk": desk}, assets=(AssetTerms("USD", 6),))
    async with Embedded.open(folder, open_charter(folder, terms)) as house:
        opened = await house.submit("desk", OpenAccounts(1, Mode.CROSS))
        account = unpack_int64(opened.first(AccountsOpened).accounts)[0]
        columns = pack_int64([account]), pack_int32([0]), pack_int64([100_000_000])
        await house.submit("desk", RecordDeposits(1, 1, *columns))
        answer = await house.submit("desk", Withdraw(account, 0, 150_000_000, destination=1))
        print(answer.rejected)  # Rejected(command=0, code=402, field='amount_minor')
        print([(status.replica, status.seq, status.chain.hex()[:8]) for status in house.status()])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
