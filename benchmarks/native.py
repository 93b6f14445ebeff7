"""C twins, compiled with this machine's compiler where there is one."""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-shared", "-fPIC")


@functools.cache
def compile_twin(name: str) -> ctypes.CDLL | None:
    """Return the library made of `name`.c beside this file, or None without a compiler."""
    compiler = next((found for cc in ("cc", "gcc", "clang") if (found := shutil.which(cc))), None)
    if compiler is None:
        return None
    source = Path(__file__).with_name(f"{name}.c")
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / f"{name}.so"
        subprocess.run([compiler, *FLAGS, str(source), "-o", str(target)], check=True)
        return ctypes.CDLL(str(target))
