"""Files that appear whole or not at all, in folders made for them, and never over what was read."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from skfdrmfl.cli.errors import wrong
from skfdrmfl.cli.screen import interrupt_waits

Writer = Callable[[Path], object]
Write = Callable[[dict[str, Writer]], None]


@contextmanager
def output_folder(option: str, folder: Path, names: Sequence[str], inputs: Sequence[Path] = ()) -> Iterator[Write]:
    """Make sure that files can be written to `folder` and give a function that writes them, all or none.

    Files are prepared in a hidden folder inside `folder` and moved into place at the end, so that an interruption
    leaves no half of a file. Folders that were made for them are removed again if the work fails. `names` are the files
    that may be written, `inputs` those that are read and must not be replaced; messages name `option`.
    """
    for name, source in product(names, inputs):
        with suppress(OSError):  # one of them is not there
            if os.path.samefile(folder / name, source):
                wrong(option, folder / name, "is the file that is read", "name another one for the result")
    made: list[Path] = []
    try:
        with ExitStack() as stack:
            with interrupt_waits():  # a folder that is made is known to be made
                try:
                    made += (path for path in (folder, *folder.parents) if not path.exists())
                    folder.mkdir(parents=True, exist_ok=True)
                    for name in names:
                        if (folder / name).is_dir():
                            wrong(
                                option, folder, f"holds a folder named {name}", "move that away, or name another folder"
                            )
                    staging = stack.enter_context(tempfile.TemporaryDirectory(prefix=".skfdrmfl-", dir=folder))
                except OSError as error:
                    reason = os.strerror(error.errno) if error.errno else str(error)
                    wrong(option, folder, f"cannot be written to ({reason})", "name a folder that can")

            def write(writers: dict[str, Writer]) -> None:
                for name, writer in writers.items():
                    writer(Path(staging, name))
                for name in writers:
                    print(f"Written: {Path(staging, name).replace(folder / name)}")

            yield write
    except BaseException:
        with suppress(OSError):  # the innermost that is not empty ends it
            for path in made:
                path.rmdir()
        raise


def text_file(text: str) -> Writer:
    """Return the writer of a text file."""
    return partial(Path.write_text, data=text, encoding="utf-8")


def picture_file(draw: Callable[[], Any], command: str, dpi: int) -> Writer | None:
    """Return the writer of the figure that `draw` gives; None, and a line on stderr, where matplotlib is missing."""
    try:
        figure = draw()
    except ImportError as error:
        print(f"skfdrmfl {command}: no figure: {error}", file=sys.stderr)
        return None
    return partial(figure.savefig, dpi=dpi, format="png")
