"""Machine code kept on disk between processes, beside PyTensor's own.

A file holds the compiled functions of one graph and the kernels that these call by address, so that
a later process need neither build the derivatives of the graph nor rewrite it. Its name is a hash
of all that the code depends on. It is written under another name first and then moved, and carries
a checksum: a damaged file is said, and made again.
"""

import os
import pickle
import sys
import tempfile
import warnings
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
import pytensor
from numba.core.registry import cpu_target
from numba.core.serialize import dumps
from pytensor.link.numba.cache import NUMBA_CACHE_PATH

__all__ = ["kept_name", "load_kept", "save_kept"]

_N_CHECKSUM = 32
_PACKAGES = ("pytensor", "numba", "llvmlite", "numpy", "scipy")


def kept_name(*parts: Any, files: str = "**/*.py") -> str:
    """Return a name for code that depends on some parts, files of this package, and the compiler.

    Parameters
    ----------
    *parts
        With a text that tells them apart.
    files : str
        Pattern of the files.
    """
    return sha256(repr((parts, _surroundings(files))).encode()).hexdigest()


@cache
def _surroundings(files: str) -> tuple[Any, ...]:
    """What code depends on besides its graph."""
    root = Path(__file__).parents[1]
    source = sha256()
    for path in sorted(root.glob(files)):
        source.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    config = pytensor.config
    return (
        source.hexdigest(), sys.version, [(name, version(name)) for name in _PACKAGES],
        cpu_target.target_context.codegen().magic_tuple(),
        str(numba.config.OPT), numba.config.BOUNDSCHECK, numba.config.DEBUGINFO_DEFAULT,
        config.numba__fastmath, config.floatX, config.optimizer_excluding,
        config.optimizer_including,
    )  # fmt: skip


def _path(name: str) -> Path:
    return NUMBA_CACHE_PATH / f"starpop_{name}.bin"


def load_kept(name: str) -> Any:
    """Return what was kept under a name, or None; a damaged file is said and not used."""
    path = _path(name)
    if not pytensor.config.numba__cache or not path.exists():
        return None
    content = path.read_bytes()
    checksum, data = content[:_N_CHECKSUM], content[_N_CHECKSUM:]
    if sha256(data).digest() != checksum:
        warnings.warn(
            f"{path} is damaged; the likelihood is compiled again and the file written anew.",
            stacklevel=2,
        )
        return None
    return pickle.loads(data)


def save_kept(name: str, content: Any) -> None:
    """Keep something under a name, if PyTensor keeps compiled code at all."""
    if not pytensor.config.numba__cache:
        return
    data = dumps(content)
    with tempfile.NamedTemporaryFile(dir=NUMBA_CACHE_PATH, suffix=".tmp", delete=False) as file:
        file.write(sha256(data).digest() + data)
    os.replace(file.name, _path(name))
