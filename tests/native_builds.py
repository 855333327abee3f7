"""Builds of `native.c` that only tests need: for float64, and with sanitizers."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from skfdrmfl.engines import native

SOURCE = Path(native.__file__).with_name("native.c")
FLAGS = ["-std=gnu11", "-O2", "-fno-math-errno", "-shared", "-fPIC", "-pthread"]
COMPILER = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")


def compile_source(source, library, *flags):
    """Compile a C file to a library, and return its path."""
    subprocess.run([COMPILER, *FLAGS, *flags, str(source), "-lm", "-o", str(library)], check=True)
    return library


def build(*flags):
    """Compile `native.c`, once for each content and flags, whichever process comes first; return the path."""
    text = SOURCE.read_bytes() + SOURCE.with_name("native_matrices.h").read_bytes()
    key = hashlib.sha256(text + " ".join(flags).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"skfdrmfl-native-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        compile_source(SOURCE, folder / f"{key}.{os.getpid()}", *flags).replace(library)
    return library


def register():
    """Let the native engine train in float64 too, where there is a compiler."""
    given = os.environ.get("SKFDRMFL_NATIVE_FLOAT64")
    if given is not None:
        native.LIBRARIES[np.dtype(np.float64)] = [Path(given)]
    elif COMPILER is not None:
        native.LIBRARIES[np.dtype(np.float64)] = [build("-DNATIVE_DOUBLE")]
