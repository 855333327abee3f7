"""What is built for others: a wheel and a source archive that hold what they should, install, and say who made them."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import native_builds
import pytest

import skfdrmfl
from skfdrmfl.engines import native

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
DATA = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "skfdrmfl" / "datasets" / "data").iterdir() if path.is_file()
)


def run(*arguments, cwd, **environment):
    command = [sys.executable, *map(str, arguments)]
    env = os.environ | environment
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder, what, out, **environment):
    """Build in a folder with the setuptools that is here; return the archive."""
    out.mkdir()
    code = f"from setuptools import build_meta; print(build_meta.build_{what}({str(out)!r}))"
    return out / run("-c", code, cwd=folder, **environment).splitlines()[-1]


def installed(wheel, there):
    """Install a wheel, and nothing else, into a folder."""
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", there, wheel, cwd=there.parent)


def engine_of(there):
    """Say which engine a fit takes, of the package in a folder and from no compiler."""
    code = (
        "import numpy as np, skfdrmfl; from skfdrmfl import FDRMFLTransformer\n"
        "X = np.random.default_rng(0).standard_normal((40, 4))\n"
        "model = FDRMFLTransformer(n_rounds=2, random_state=0).fit(X, X[:, 0], client_ids=[0, 1] * 20)\n"
        "print(skfdrmfl.__file__, model.engine_)"
    )
    file, engine = run("-c", code, cwd=there.parent, PYTHONPATH=str(there), PATH="").split()
    assert file == str(there / "skfdrmfl" / "__init__.py")
    return engine


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The source archive of a copy of the repository, and the wheel that is built from it alone."""
    folder = tmp_path_factory.mktemp("packages")
    ignored = shutil.ignore_patterns(
        ".*", "_build", "gallery", "out", "build", "dist", "__pycache__", "*.so", "*.egg-info"
    )
    copy = shutil.copytree(ROOT, folder / "copy", ignore=ignored)
    sdist = build(copy, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        names = set(archive.getnames())
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    return names, build(source, "wheel", folder / "wheel")


def test_the_source_archive_has_what_a_build_needs(archives):
    names, _ = archives
    inside = {name.partition("/")[2] for name in names}
    sources = {f"skfdrmfl/engines/{name}" for name in ("native.c", "native_matrices.h")}
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE", "skfdrmfl/py.typed", *sources, *DATA} <= inside


def test_the_wheel_has_every_module_and_all_data_and_nothing_else(archives):
    _, wheel = archives
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "skfdrmfl").rglob("*.py")}
    assert {name for name in inside if name.endswith(".py")} == modules
    assert {"skfdrmfl/py.typed", *DATA} <= inside
    assert all(name.startswith("skfdrmfl/") for name in inside)


def test_the_metadata_say_who_what_and_on_which_terms(archives):
    _, wheel = archives
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        (entry_points,) = (n for n in archive.namelist() if n.endswith(".dist-info/entry_points.txt"))
        assert "skfdrmfl = skfdrmfl.cli.main:main" in archive.read(entry_points).decode()
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert (metadata["Name"], metadata["Version"]) == ("skfdrmfl", skfdrmfl.__version__)
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Author"] == "skfdrmfl developers"
    assert "Paper, https://arxiv.org/abs/2512.02076" in metadata.get_all("Project-URL")
    assert "Topic :: Scientific/Engineering :: Chemistry" in metadata.get_all("Classifier")
    assert metadata.get_payload().startswith("# skfdrmfl")


@pytest.mark.skipif(native_builds.COMPILER is None, reason="there is no C compiler")
def test_the_wheel_has_the_native_engine_for_every_python_and_trains_with_it(archives, tmp_path):
    _, wheel = archives
    assert "-py3-none-" in wheel.name and not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        libraries = {Path(name).name for name in archive.namelist() if name.endswith(".so")}
    assert libraries <= set(native.NAMES) and libraries
    installed(wheel, tmp_path / "there")
    assert engine_of(tmp_path / "there") == "native"


def test_without_a_compiler_it_is_built_without_the_native_engine_and_works(archives, tmp_path):
    ignored = shutil.ignore_patterns(".*", "_build", "gallery", "out", "build", "dist", "*.so", "*.egg-info")
    copy = shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored)
    wheel = build(copy, "wheel", tmp_path / "wheel", CC="/nowhere/cc")
    installed(wheel, tmp_path / "there")
    assert not list((tmp_path / "there").rglob("*.so"))
    assert engine_of(tmp_path / "there") == "torch"


def test_the_wheel_installs_and_works_from_where_it_was_installed(archives, tmp_path):
    _, wheel = archives
    there = tmp_path / "there"
    installed(wheel, there)
    code = (
        "import skfdrmfl; from skfdrmfl.datasets import load_tecator; X, y = load_tecator(return_X_y=True);"
        "print(skfdrmfl.__file__, X.shape)"
    )
    said = run("-c", code, cwd=tmp_path, PYTHONPATH=str(there))
    assert said.split() == [str(there / "skfdrmfl" / "__init__.py"), "(215,", "100)"]
