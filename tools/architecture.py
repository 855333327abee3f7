"""The picture of the house: which floor each folder of the package stands on; imports go down.

    python tools/architecture.py            # draw it
    python tools/architecture.py --check    # status 1 where the block in docs/maintainers.md is another one
    python tools/architecture.py --write    # draw it there

The imports are read from the code, wherever they stand: in functions and behind TYPE_CHECKING too. Nothing is imported.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "skfdrmfl"
PAGE = ROOT / "docs" / "maintainers.md"
# The plan: folders and single files by floors, from the ground up. `__init__` is the package's own file.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("common", "model_selection"),
    ("diagnosis", "views"),
    ("data",),
    ("datasets", "method", "metrics", "tables"),
    ("encoders", "light", "losses", "protocol"),
    ("engines", "server"),
    ("clients", "mixture"),
    ("fit", "courier"),
    ("estimator",),
    ("__init__", "inspection", "site"),
    ("compare", "flower"),
    ("cli",),
    ("__main__",),
)
BLOCK = re.compile(r"(?<=```text\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


def modules(package: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules; a folder's name stands for its `__init__.py`."""
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports(package: Path) -> dict[str, set[str]]:
    """Return for each module of a package the modules of that package that its text imports, wherever."""
    files = modules(package)
    found = {}
    for name, path in files.items():
        inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
        named = _named(ast.parse(path.read_text(encoding="utf-8")), inside)
        found[name] = {module for dotted in named if (module := _known(dotted, files)) not in ("", name)}
    return found


def _named(tree: ast.Module, inside: str) -> Iterator[str]:
    """Yield the dotted names that a module in the folder `inside` imports; `from a import b` names a.b."""
    nodes: list[ast.AST] = [tree]
    for node in nodes:  # statements, and what has some: nothing is imported within an expression
        within = (ast.stmt, ast.excepthandler, ast.match_case)
        nodes.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, within))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside.split(".")[: inside.count(".") + 2 - node.level] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def _known(dotted: str, files: dict[str, Path]) -> str:
    """Return the module that a name is or stands in, "" for one of another package."""
    while dotted and dotted not in files:
        dotted = dotted.rpartition(".")[0]
    return dotted


def room(module: str) -> str:
    """Return the folder or single file at the top of the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def floor(room: str) -> int:
    """Return the floor that a room stands on, from 1."""
    for number, rooms in enumerate(FLOORS, 1):
        if room in rooms:
            return number
    raise ValueError(f"{room} stands on no floor; give it a place in FLOORS of tools/architecture.py.")


def picture(package: Path = PACKAGE) -> str:
    """Return the drawing: floors from the top down with their rooms by name."""
    rooms = sorted({room(module) for module in modules(package)})
    floors = groupby(sorted(rooms, key=floor, reverse=True), floor)
    return "".join(f"{number:>2}  {', '.join(there)}\n" for number, there in floors)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, check or write the picture; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare it with the block in docs/maintainers.md")
    what.add_argument("--write", action="store_true", help="put it into that block")
    options = parser.parse_args(arguments)
    drawn = picture()
    if not (options.check or options.write):
        print(drawn, end="")
        return 0
    page = PAGE.read_text(encoding="utf-8")
    if options.write:
        PAGE.write_text(BLOCK.sub(lambda _: drawn, page, count=1), encoding="utf-8")
    elif BLOCK.findall(page)[:1] != [drawn]:
        print(f"{PAGE} shows another picture than the code; run: python {sys.argv[0]} --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
