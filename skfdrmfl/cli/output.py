"""Files that appear whole or not at all, in folders made for them, and never over what was read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skfdrmfl.cli.errors import wrong

Writer = Callable[[Path], object]
Write = Callable[[dict[str, Writer]], list[Path]]


@contextmanager
def output_folder(
    command: str, option: str, folder: Path, names: Sequence[str], inputs: Sequence[Path] = ()
) -> Iterator[Write]:
    """Make sure that files can be written to `folder` and give a function that writes them, all or none.

    Files are prepared in a hidden folder inside `folder` and moved into place at the end, so that an interruption
    leaves no half of a file. Folders that were made for them are removed again if the work fails.

    Parameters
    ----------
    command, option : str
        What error messages name.
    folder : Path
    names : sequence of str
        Files that may be written there.
    inputs : sequence of Path
        Files that are read, which none of these may replace.
    """
    made: list[Path] = []
    for name in names:
        for source in inputs:
            if _same(folder / name, source):
                wrong(command, option, folder / name, "is the file that is read", "name another one for the result")
    try:
        try:
            made += (path for path in (folder, *folder.parents) if not path.exists())
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                if (folder / name).is_dir():
                    fact = f"holds a folder named {name}"
                    wrong(command, option, folder, fact, "move that away, or name another folder")
            staging = tempfile.TemporaryDirectory(prefix=".skfdrmfl-", dir=folder)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            wrong(command, option, folder, f"cannot be written to ({reason})", "name a folder that can")

        def write(writers: dict[str, Writer]) -> list[Path]:
            for name, writer in writers.items():
                writer(Path(staging.name, name))
            return [Path(staging.name, name).replace(folder / name) for name in writers]

        with staging:
            yield write
    except BaseException:
        _remove_empty(made)
        raise


def text_file(text: str) -> Writer:
    """Return the writer of a text file."""

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, however they are written."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return False


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, as far as they exist and are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
