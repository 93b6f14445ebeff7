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
VARIABLE = "NUMBA_CACHE_DIR"
"""Where numba keeps what it compiled; it reads the variable once, when it is imported."""


KERNEL_SOURCES = ("protocol", "clearing/layout.py", "clearing/kernels")
"""All that kernels are made of; a test holds their imports against this."""


@functools.cache
def build_hash() -> str:
    """Return 32 hex digits that name all sources of the package and the compilers' versions."""
    return hash_sources(PACKAGE)


@functools.cache
def kernel_hash() -> str:
    """Return 32 hex digits that name all that the kernels' machine code depends on."""
    return hash_sources(PACKAGE, KERNEL_SOURCES)


def hash_sources(root: Path, parts: tuple[str, ...] = ("",)) -> str:
    """Return the hash of the Python files under a folder, their names and the compilers.

    Parameters
    ----------
    parts : files and folders to hash, relative to `root`; all of it by default
    """
    content = hashlib.blake2b(digest_size=16, person=b"seawall/build")

    def add(part: bytes) -> None:
        # The length goes first, so that no two lists of parts read the same.
        content.update(len(part).to_bytes(8, "little") + part)

    found = {path for part in parts for path in ((root / part), *(root / part).rglob("*.py"))}
    for path in sorted(path for path in found if path.suffix == ".py"):
        add(path.relative_to(root).as_posix().encode())
        add(path.read_bytes())
    for name in COMPILERS:
        add(f"{name} {version(name)}".encode())
    return content.hexdigest()


def use_kernel_cache() -> Path:
    """Keep compiled kernels in a directory of these kernels alone; call before numba is imported.

    Numba checks only a kernel's own file against its cache, so after an edit elsewhere it would
    run the old code: two replicas could silently follow different rules. The directory is under
    SEAWALL_CACHE_DIR or the user's cache directory; where that cannot be written, a temporary
    one. Processes started by this one inherit it.
    """
    name = f"kernels-{kernel_hash()}"
    inherited = Path(os.environ.get(VARIABLE, ""))
    if inherited.name == name and _is_writable(inherited):
        return inherited
    assert "numba" not in sys.modules
    directory = _cache_root() / name
    if not _is_writable(directory):
        directory = Path(tempfile.mkdtemp(prefix="seawall-")) / name
        directory.mkdir()
    os.environ[VARIABLE] = str(directory)
    return directory


def _cache_root() -> Path:
    chosen = os.environ.get("SEAWALL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seawall"


def _is_writable(directory: Path) -> bool:
    """Tell whether a directory can be written, made if it was not there."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)
