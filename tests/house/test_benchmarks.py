"""Scripts of benchmarks/, studies/ and tools/ explain themselves; benchmarks and experiments finish when smallest."""

import multiprocessing
import os
import re
import runpy
import sys
import warnings
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


def be_script(folder, words, script, *options):
    """In a process of its own: be a script that was started in a folder; what it says goes to files."""
    for stream, path in zip((sys.stdout, sys.stderr), words, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    warnings.simplefilter("ignore")
    os.chdir(folder)
    sys.argv = [str(ROOT / script), *options]
    sys.path.insert(0, str((ROOT / script).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start a script in a folder: its exit code, and what it has said on both streams.

    Processes are forked from one that has imported what takes seconds to import, and nothing of the scripts.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "pandas", "matplotlib.pyplot", "torch", "skfdrmfl.compare"])

    def started(folder, *command):
        words = [tmp_path_factory.mktemp("words") / name for name in ("out", "err")]
        process = context.Process(target=be_script, args=(folder, words, *map(str, command)))
        process.start()
        process.join()
        return process.exitcode, *(path.read_text(encoding="utf-8") for path in words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PYTHONWARNINGS", "ignore")
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BENCHMARKS, *EXPERIMENTS])
def test_a_benchmark_finishes_and_has_written_what_it_says(name, tmp_path, start):
    table = re.search(r'add_csv\(options, "(\w+)"\)', (ROOT / name).read_text(encoding="utf-8"))
    csv = [] if table is None else ["--csv", tmp_path / "results" / "table.csv"]
    code, out, err = start(tmp_path, name, "--smallest", "--out", tmp_path / "results", *csv)
    if found := re.search(r"^left out: .*", out, re.MULTILINE):
        pytest.skip(found[0])
    assert code == 0, err[-3000:]
    written = re.findall(r"^Written to (.*)$", out, re.MULTILINE)
    assert written
    for path in written:
        assert Path(path).stat().st_size and Path(path).is_relative_to(tmp_path / "results")
    if table is not None:
        kept = ROOT / "docs" / "data" / f"{table[1]}.csv"
        headers = [path.read_text(encoding="utf-8").partition("\n")[0] for path in (csv[1], kept)]
        assert headers[0] == headers[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_script_explains_itself_and_does_nothing_else(name, tmp_path, start):
    code, out, err = start(tmp_path, name, "--help")
    assert code == 0, err[-3000:]
    assert out.startswith("usage:") and "Written" not in out
    assert list(tmp_path.iterdir()) == []


def test_scripts_that_pages_name_are_there():
    named = {
        match[1]
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for match in re.finditer(r"python ((?:benchmarks|studies|tools)/[\w/]+\.py)", page.read_text(encoding="utf-8"))
    }
    assert named and named <= {*BENCHMARKS, *EXPERIMENTS, *OTHERS}
