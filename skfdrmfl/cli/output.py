"""Files that appear whole or not at all, in folders made for them, and never over what was read.

What was computed is written first, pictures of it after: none of them can cost a result.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from skfdrmfl.cli.screen import Interrupted, interrupt_waits
from skfdrmfl.common.extras import names_as_they_are
from skfdrmfl.tables.errors import first_line, wrong

MOST_LETTERS = 40  # of a line in a panel of a picture

Writer = Callable[[Path], object]
Write = Callable[[dict[str, Writer]], None]


@contextmanager
def output_folder(option: str, folder: Path, names: Sequence[str], inputs: Sequence[Path] = ()) -> Iterator[Write]:
    """Make sure that files can be written to `folder` and give a function that writes some of them, all or none.

    Files are prepared in a hidden folder inside `folder` and moved into place together, so that an interruption leaves
    no half of a file; Ctrl-C waits until they are there. What was written stays, whatever comes after, and is named at
    the end. Folders that were made for nothing are removed again. `names` are the files that may be written, `inputs`
    those that are read and must not be replaced; messages name `option`.
    """
    for name, source in product(names, inputs):
        with suppress(OSError):  # one of them is not there
            if os.path.samefile(folder / name, source):
                wrong(option, folder / name, "is the file that is read", "name another one for the result")
    made: list[Path] = []
    written: list[Path] = []
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
                with interrupt_waits():
                    for name, writer in writers.items():
                        writer(Path(staging, name))
                    moved = [Path(staging, name).replace(folder / name) for name in writers]
                    written.extend(path for path in moved if path not in written)  # a file may be written again

            yield write
    except KeyboardInterrupt as error:
        if written:
            raise Interrupted(f"{' and '.join(map(str, written))} had been written.") from error
        raise
    finally:
        with suppress(OSError):  # the innermost that is not empty ends it
            for path in made:
                path.rmdir()
        for path in written:
            print(f"Written: {path}")


def check_ending(option: str, path: Path, *endings: str) -> None:
    """Refuse the name of a file that does not say what it will be."""
    if path.suffix.lower() not in endings:
        remedy = f"pass {shlex.quote(str(path.with_suffix(endings[0])))}"
        wrong(option, path, f"does not end in {' or '.join(endings)}", remedy)


def text_file(text: str) -> Writer:
    """Return the writer of a text file."""
    return partial(Path.write_text, data=text, encoding="utf-8")


def write_picture(write: Write, path: Path, draw: Callable[[], Any], command: str, dpi: int) -> None:
    """Write the figure that `draw` gives as PNG; one that cannot be had costs a line on stderr, whatever the reason."""
    logger = logging.getLogger("matplotlib")  # it says on several lines what a settings file of its has wrong
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with names_as_they_are(), _one_line_of_glyphs(command):
            drawn, figure = io.BytesIO(), draw()
            _shorten_texts(figure)
            figure.savefig(drawn, dpi=dpi, format="png")
        write({path.name: partial(Path.write_bytes, data=drawn.getvalue())})
    except MemoryError:
        raise
    except Exception as error:  # settings, fonts, backends and layouts fail in ways of their own
        older = f"; {path} is of an earlier run" if path.exists() else ""
        print(f"skfdrmfl {command}: no figure: {first_line(error)}{older}", file=sys.stderr)
    finally:
        logger.setLevel(level)


@contextmanager
def _one_line_of_glyphs(command: str) -> Iterator[None]:
    """Say in one line that a font lacks letters, of which matplotlib warns one by one."""
    with warnings.catch_warnings(record=True) as said:
        yield
    lacking = {str(warning.message) for warning in said if str(warning.message).startswith("Glyph ")}
    for warning in said:
        if str(warning.message) not in lacking:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        fact = f"the figure's font lacks {len(lacking)} letters of names"
        print(f"skfdrmfl {command}: {fact}; a matplotlibrc can name another as font.family.", file=sys.stderr)


def _shorten_texts(figure: Any) -> None:
    """Put texts of panels that are too long for them on several lines, without the end of the longest."""
    for panel in figure.axes:
        for text in panel.findobj(lambda artist: hasattr(artist, "get_wrap") and not artist.get_wrap()):
            lines = text.get_text().splitlines()
            if any(len(line) > MOST_LETTERS for line in lines):
                short = (textwrap.wrap(line, MOST_LETTERS, max_lines=2, placeholder=" ...") for line in lines)
                text.set_text("\n".join("\n".join(parts) for parts in short))
