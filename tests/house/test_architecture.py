"""The house: imports go down, never round in circles, and the page that shows them is true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
house = SimpleNamespace(**run_path(str(ROOT / "tools" / "architecture.py")))
FILES = house.modules(house.PACKAGE)
IMPORTS = cache(lambda: house.imports(house.PACKAGE))  # a second
ROOMS = sorted(set(map(house.room, FILES)))


def test_each_room_has_one_place():
    places = [room for floor in house.FLOORS for room in floor]
    assert len(places) == len(set(places))
    assert set(ROOMS) == set(places)


def test_a_module_imports_from_its_own_room_and_from_lower_floors_alone():
    upwards = [
        f"{module} (floor {house.floor(own)}) imports {target} (floor {house.floor(other)})"
        for module, targets in IMPORTS().items()
        for target in sorted(targets)
        if (own := house.room(module)) != (other := house.room(target)) and house.floor(other) >= house.floor(own)
    ]
    assert upwards == []


def n_code_lines(room):
    """Lines of a room, C and docstrings included."""
    paths = [path for module, path in FILES.items() if house.room(module) == room]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_no_room_has_more_than_3_000_lines():
    assert {room: n for room in ROOMS if (n := n_code_lines(room)) > 3000} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_no_modules_of_a_room_import_each_other_in_a_circle(room):
    inside = {module: targets for module, targets in IMPORTS().items() if house.room(module) == room}
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


# What the server runs, and what crosses: neither may reach a row.
SERVER = re.compile(r"skfdrmfl\.(server|protocol)\b")


def ways_from(module):
    """Every module that comes along when one is imported, with the chain of imports that leads there.

    A folder's `__init__` comes along with its modules; the package's own has lazy names alone.
    """
    ways = {module: [module]}
    queue = [module]
    for here in queue:
        folders = {here.rpartition(".")[0]} - {"", "skfdrmfl"}
        for target in sorted((IMPORTS()[here] | folders) - ways.keys()):
            ways[target] = [*ways[here], target]
            queue.append(target)
    return ways


@pytest.mark.parametrize("module", [name for name in FILES if SERVER.match(name)])
def test_what_the_server_imports_cannot_reach_a_row(module):
    ways = ways_from(module)
    for holds_rows in ("skfdrmfl.data.partition", "skfdrmfl.clients", "skfdrmfl.engines"):
        reached = [way for module, way in ways.items() if f"{module}.".startswith(f"{holds_rows}.")]
        assert reached == [], " -> ".join(reached[0])


def n_lines(path):
    """Lines of a file that belong to no docstring; all of a file that is short anyway."""
    text = path.read_text(encoding="utf-8")
    n = len(text.splitlines())
    for node in ast.walk(ast.parse(text)) if n > 350 else ():
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            n -= node.body[0].end_lineno - node.body[0].lineno + 1
    return n


def test_no_file_has_more_than_350_lines_beside_its_docstrings():
    assert {name: n for name, path in FILES.items() if (n := n_lines(path)) > 350} == {}


def test_the_page_shows_the_picture_that_the_code_gives():
    assert house.main(["--check"]) == 0, "run: python tools/architecture.py --write"


def test_the_page_says_what_each_room_is():
    table = [line for line in house.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for room in ROOMS:
        own = f"`{room}.py`" if (house.PACKAGE / f"{room}.py").exists() else f"`{room}/`"
        assert sum(own in line.split("|")[1] for line in table) == 1, own


def test_every_file_that_the_page_names_is_there():
    text = house.PAGE.read_text(encoding="utf-8")
    named = {path for path in re.findall(r"`([\w/]+\.py)`", text) if "NAME" not in path}
    assert len(named) > 10
    assert [path for path in sorted(named) if not any((top / path).is_file() for top in (house.PACKAGE, ROOT))] == []


@pytest.mark.parametrize(
    "arguments", [["-c", "import skfdrmfl"], ["-m", "skfdrmfl", "--help"]], ids=["import", "command line"]
)
def test_the_door_is_light(arguments):
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "skfdrmfl" in imported or "skfdrmfl.cli.main" in imported
    assert imported.isdisjoint({"numpy", "sklearn", "torch"})


# Who may name torch: the definition, the encoders, the torch engine, and who asks which devices there are.
MAY_NAME_TORCH = re.compile(
    r"skfdrmfl\.(method|encoders|engines\.(torch|chunk|workspace|held_out)|common\.late_torch|fit\.parameters)\b"
)


def test_torch_stands_in_the_definition_the_encoders_and_the_torch_engine_alone():
    names_it = re.compile(r"^\s*(import torch|from torch|from .*late_torch import)", re.MULTILINE)
    named = [name for name, path in FILES.items() if names_it.search(path.read_text(encoding="utf-8"))]
    assert "skfdrmfl.engines.torch" in named
    assert [name for name in named if not MAY_NAME_TORCH.match(name)] == []


@pytest.mark.slow
def test_the_transformer_needs_none_of_the_extras():
    extras = ["matplotlib", "tqdm", "rich", "flwr", "dp_accounting", "pandas", "polars", "mlflow"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras}));"
        "from skfdrmfl import CSVLogger, FDRMFLTransformer, IgnoreClients;"
        "import skfdrmfl.inspection;"
        "import numpy as np; X = np.random.default_rng(0).standard_normal((30, 3));"
        "FDRMFLTransformer(n_rounds=2, verbose=1).fit(X, X[:, 0], np.arange(30) % 2)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------- that the rules find what breaks them


@pytest.fixture
def package(tmp_path):
    """Two rooms with imports of every kind."""
    files = {
        "__init__.py": "",
        "low/__init__.py": "from . import base\nfrom .deep import thing as other",
        "low/base.py": "import os, numpy.random",
        "low/deep/__init__.py": "from ..base import x\nfrom ... import top",
        "low/deep/thing.py": "",
        "top.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import house.low.base\n"
            "def f():\n    from house.low import deep\n    from house.low.deep.thing import name\n    import house"
        ),
    }
    for name, text in files.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "house"


def test_imports_of_every_kind_are_read(package):
    assert house.imports(package) == {
        "house": set(),
        "house.low": {"house.low.base", "house.low.deep.thing"},
        "house.low.base": set(),
        "house.low.deep": {"house.low.base", "house.top"},
        "house.low.deep.thing": set(),
        "house.top": {"house", "house.low.base", "house.low.deep", "house.low.deep.thing"},
    }
    assert [house.room(name) for name in house.imports(package)] == ["__init__", "low", "low", "low", "low", "top"]


def test_a_room_without_a_place_is_named(package):
    with pytest.raises(ValueError, match=r"^low stands on no floor; give it a place in FLOORS"):
        house.picture(package)
