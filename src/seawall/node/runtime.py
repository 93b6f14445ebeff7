"""Entry point of the processes of a house: `python -m seawall.node.runtime ROLE --config FILE`."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seawall.node.build import use_kernel_cache

if TYPE_CHECKING:
    from seawall.node.wiring import MachineFactory

CONFIG_STATUS = 2
LOG_STATUS = 3
WARM_FILE = "warm"
"""Lies in the kernel cache once a process of this build has compiled everything."""


def main(arguments: list[str], machines: "Callable[[], MachineFactory] | None" = None) -> int:
    """Run one process of a house; return its exit status.

    Parameters
    ----------
    machines : returns the maker of the replica's machine, called once the kernel cache is in
        place. No command line reaches it: who runs another machine is another entry point.

    Notes
    -----
    Status 0 after SIGTERM, 2 for a configuration, key or genesis that cannot be used, 3 when no
    node of the log answers. A bug ends the process with its traceback.
    """
    if not __debug__:
        sys.exit("seawall refuses to run with python -O or PYTHONOPTIMIZE: assertions must hold")
    options = _parse(arguments)
    cache = use_kernel_cache()
    # Only now: numba reads the directory of its cache once.
    from seawall.node.charter import CharterFault
    from seawall.node.config import ConfigFault
    from seawall.node.keys import KeyFault
    from seawall.replica.log import LogFault

    try:
        asyncio.run(_run(options, cache, machines))
    except (ConfigFault, CharterFault, KeyFault) as fault:
        print(fault, file=sys.stderr)
        return CONFIG_STATUS
    except LogFault as fault:
        print(fault, file=sys.stderr)
        return LOG_STATUS
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="seawall.node.runtime", description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    for role in ("replica", "auditor"):
        roles.add_parser(role).add_argument("--config", type=Path, required=True)
    roles.add_parser("warm", help="compile all kernels into the cache, once per build")
    return parser.parse_args(arguments)


async def _run(
    options: argparse.Namespace, cache: Path, machines: "Callable[[], MachineFactory] | None"
) -> None:
    from seawall.node import roles
    from seawall.node.config import AuditorConfig, ReplicaConfig, load_config
    from seawall.node.warming import warm
    from seawall.node.wiring import ClearingMachine

    if options.role == "warm":
        warm(ClearingMachine())
        (cache / WARM_FILE).touch()
    elif options.role == "replica":
        new_machine = ClearingMachine if machines is None else machines()
        await roles.run_replica(load_config(ReplicaConfig, options.config), new_machine)
    else:
        await roles.run_auditor(load_config(AuditorConfig, options.config))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
