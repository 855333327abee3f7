"""The tool that draws mutants knows the package as it stands."""

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
tool = SimpleNamespace(**run_path(str(ROOT / "tools" / "mutants.py")))


@pytest.mark.slow
def test_mutants_are_drawn_of_every_room_that_is_named():
    package = ROOT / tool.PACKAGE
    paths = [path for folder in tool.FOLDERS for path in sorted((package / folder).rglob("*.py"))]
    sources = {path.relative_to(package).as_posix(): path.read_bytes() for path in paths}
    assert {mutant.folder for mutant in tool.drawn(sources, 2 * len(tool.FOLDERS), seed=0)} == set(tool.FOLDERS)


def test_each_mutant_that_is_known_to_change_nothing_can_be_drawn():
    for known in tool.SAME:
        path, _, shown = known.partition(": ")
        source = (ROOT / tool.PACKAGE / path).read_bytes()
        assert shown in {mutant.shown(source)[1] for mutant in tool.mutants_of(path, source)}, known


def test_a_mutant_is_another_text():
    source = b"def f(x):\n    if x > 1:\n        return 2 * x\n    return x\n"
    shown = [mutant.shown(source) for mutant in tool.mutants_of("f.py", source)]
    assert ("return 2 * x", "return x") in shown and [before for before, after in shown if before == after] == []
