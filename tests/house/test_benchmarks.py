"""Scripts of benchmarks/, studies/ and tools/ explain themselves; benchmarks and experiments finish when smallest."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("studies/**/*.md")]


def scripts(*patterns):
    """Files that are started, by their names from the root."""
    found = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return [str(path.relative_to(ROOT)) for path in found if "__main__" in path.read_text(encoding="utf-8")]


EXPERIMENTS = scripts("studies/experiments/*.py")
BENCHMARKS = scripts("benchmarks/*.py")
# The contenders of `compare.py` run in environments of their own.
OTHERS = [name for name in scripts("studies/**/*.py", "tools/*.py") if "/run_" not in name and name not in EXPERIMENTS]


def start(folder, *command):
    """The finished process of a script, at work in a folder of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    script, *options = map(str, command)
    return subprocess.run(
        [sys.executable, str(ROOT / script), *options], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BENCHMARKS, *EXPERIMENTS])
def test_a_benchmark_finishes_and_has_written_what_it_says(name, tmp_path):
    table = re.search(r'add_csv\(options, "(\w+)"\)', (ROOT / name).read_text(encoding="utf-8"))
    csv = [] if table is None else ["--csv", tmp_path / "results" / "table.csv"]
    done = start(tmp_path, name, "--smallest", "--out", tmp_path / "results", *csv)
    if found := re.search(r"^left out: .*", done.stdout, re.MULTILINE):
        pytest.skip(found[0])
    assert done.returncode == 0, done.stderr[-3000:]
    written = re.findall(r"^Written to (.*)$", done.stdout, re.MULTILINE)
    assert written
    for path in written:
        assert Path(path).stat().st_size and Path(path).is_relative_to(tmp_path / "results")
    if table is not None:
        kept = ROOT / "docs" / "data" / f"{table[1]}.csv"
        headers = [path.read_text(encoding="utf-8").partition("\n")[0] for path in (csv[1], kept)]
        assert headers[0] == headers[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BENCHMARKS, *OTHERS])
def test_a_script_explains_itself_and_does_nothing_else(name, tmp_path):
    done = start(tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("usage:") and "Written" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_scripts_that_pages_name_are_there():
    named = {
        match[1]
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for match in re.finditer(r"python ((?:benchmarks|studies|tools)/[\w/]+\.py)", page.read_text(encoding="utf-8"))
    }
    assert named and named <= {*BENCHMARKS, *EXPERIMENTS, *OTHERS}
