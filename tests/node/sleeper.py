"""A process for crews to start: ready at once, ends when told, deaf if its role is so."""

import os
import signal
import sys
import tomllib
from pathlib import Path


def main() -> None:
    role, config_file = sys.argv[1], Path(sys.argv[3])
    if role == "broken":
        sys.exit("it cannot work like this")
    if role == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    config = tomllib.loads(config_file.read_text())
    ready = Path(config["ready_file"])
    beside = ready.with_suffix(".new")
    beside.write_text(str(os.getpid()))
    beside.replace(ready)
    signal.pause()
    signal.pause()


if __name__ == "__main__":
    main()
