"""The `seawall` command, and `python -m seawall`."""

import sys

from seawall.node.build import use_kernel_cache


def main() -> None:
    """Run the command line; refuse an interpreter that drops assertions.

    A bare `assert` is how the machine stops on a bug of its own, so `-O` would let a replica
    vote for a state it knows to be wrong.
    """
    if not __debug__:
        sys.exit("seawall refuses to run with python -O or PYTHONOPTIMIZE: assertions must hold")
    # Before anything imports numba, which reads the directory of its cache once.
    use_kernel_cache()
    from seawall.surfaces.cli import app

    app()


if __name__ == "__main__":
    main()
