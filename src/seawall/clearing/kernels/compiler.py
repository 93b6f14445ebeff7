"""How kernels are compiled: one decorator, so that no kernel differs by accident."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import config, njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# "numpy": a zero divisor gives no exception, which removes a branch from every division; so
#   kernels prove theirs first.
# _nrt: kernels allocate nothing, and without the run-time each array handed to a function costs
#   no atomic count of its users: five times the fills in a second.
# cache: only where a directory was chosen. Beside the sources, where numba would keep its results
#   otherwise, they outlive an edit of any other file, and two replicas run different rules.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "_nrt": False,
    "cache": bool(getattr(config, "CACHE_DIR", "")),
}


def kernel(function: Kernel) -> Kernel:
    """Compile an integer loop over bare arrays to machine code, at its first call.

    It may not create arrays. The result is kept in the directory of `NUMBA_CACHE_DIR`, if there
    is one. Numba stamps an entry with its own file only, so that directory must be named by a
    hash of all that kernels are made of, or code of an edited neighbour would go on running.
    """
    return cast(Kernel, njit(**_OPTIONS)(function))


def inlined(function: Kernel) -> Kernel:
    """Compile a function that becomes part of each kernel that calls it."""
    return cast(Kernel, njit(forceinline=True, **_OPTIONS)(function))
