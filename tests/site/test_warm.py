"""Couriers without their start: what stands in for Flower's program hands over, or starts it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skfdrmfl.courier import warm

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
SERVING = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("warm", sys.argv[2])
warm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(warm)
warm.serve(sys.argv[1], lambda: print("warm", os.getppid(), sys.argv, flush=True))
"""


@pytest.fixture
def place(tmp_path):
    """The folder, a program of Flower's, and the command and environment that stand in for it."""
    program = tmp_path / warm.NAME
    program.write_text(f"#!{sys.executable}\nimport sys\nprint('cold', sys.argv[1:])\n")
    program.chmod(0o700)
    command, environment = warm.warmed(tmp_path / "home", dict(os.environ), str(program))
    return tmp_path / "home", command, environment


def called(environment, *arguments):
    done = subprocess.run([warm.NAME, *arguments], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_who_stands_in_starts_flowers_own_program_where_nobody_is_warm(place):
    _, command, environment = place
    assert called(environment, "--token", "a b") == "cold ['--token', 'a b']\n"
    assert command[:2] == [sys.executable, "-I"] and Path(command[2]).name == "warm.py"


def test_a_warm_process_becomes_a_courier_for_each_message_and_lives_on(place):
    home, _, environment = place
    address = home / "warm.socket"
    process = subprocess.Popen([sys.executable, "-c", SERVING, str(address), warm.__file__])
    try:
        end = time.monotonic() + 20
        while not address.exists() and time.monotonic() < end:
            time.sleep(0.01)
        for token in ("a", "b c"):
            said = called(environment, "--token", token)
            parent, _, arguments = said.removeprefix("warm ").partition(" ")
            assert int(parent) == process.pid
            assert arguments.strip() == str([warm.NAME, "--token", token])
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert called(environment, "c") == "cold ['c']\n", "the one that was warm is gone"


def test_a_program_that_is_no_script_of_a_python_is_left_alone(tmp_path):
    program = tmp_path / warm.NAME
    program.write_bytes(b"\x7fELF")
    assert warm.warmed(tmp_path / "home", {}, str(program)) is None
    assert not (tmp_path / "home").exists()


def test_it_imports_nothing_of_ours():
    code = f"import runpy, sys, json; runpy.run_path({warm.__file__!r}); print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "skfdrmfl"} & set(json.loads(done.stdout))
