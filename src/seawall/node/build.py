"""What this process runs: one hash of its sources, and compiled kernels kept under it."""

import functools
import hashlib
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
COMPILERS = ("llvmlite", "numba", "numpy")
"""Packages whose version changes what a kernel's machine code is."""


@functools.cache
def build_hash() -> str:
    """Return 32 hex digits that name all sources of the package and the compilers' versions.

    Two processes may vote together only if these are equal: they then run the same rules.
    """
    content = hashlib.blake2b(digest_size=16, person=b"seawall/build")
    for path in sorted(PACKAGE.rglob("*.py")):
        _add(content, path.relative_to(PACKAGE).as_posix().encode())
        _add(content, path.read_bytes())
    for name in COMPILERS:
        _add(content, f"{name} {version(name)}".encode())
    return content.hexdigest()


def _add(content: hashlib.blake2b, part: bytes) -> None:
    """Hash a part after its length, so that no two lists of parts read the same."""
    content.update(len(part).to_bytes(8, "little"))
    content.update(part)


def use_kernel_cache() -> Path:
    """Keep compiled kernels in a directory of this build alone; call before numba is imported.

    Numba checks only a kernel's own file against its cache, so after an edit elsewhere it would
    run the old code: two replicas could silently follow different rules. The directory is under
    SEAWALL_CACHE_DIR or the user's cache directory; where that cannot be written, a temporary one.
    """
    directory = _cache_root() / f"kernels-{build_hash()}"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    # Numba reads the variable once. Who calls this late must have inherited this very directory.
    assert "numba" not in sys.modules or chosen == str(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        writable = os.access(directory, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        directory = Path(tempfile.mkdtemp(prefix="seawall-kernels-"))
    os.environ["NUMBA_CACHE_DIR"] = str(directory)
    return directory


def _cache_root() -> Path:
    chosen = os.environ.get("SEAWALL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seawall"
