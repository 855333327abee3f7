"""Flower's app folder: three files of this package, which are all that a run sends to sites; and runs of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from skfdrmfl.courier.programs import found

FILES = ("__init__.py", "sockets.py", "client.py", "server.py")
PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "courier"
version = "1.0.0"
description = "Carries bytes between Flower and the processes of skfdrmfl"
license = "BSD-3-Clause"
dependencies = []

[tool.flwr.app]
publisher = "skfdrmfl"

[tool.flwr.app.components]
serverapp = "courier.server:app"
clientapp = "courier.client:app"

[tool.flwr.app.config]
socket = ""
token = ""
"""


def write_app(folder: Path) -> Path:
    """Write the app into a folder, and return it."""
    package = folder / "courier"
    package.mkdir(parents=True)
    for name in FILES:
        shutil.copy(Path(__file__).with_name(name), package / name)
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return folder


def write_address(home: Path, superlink: str, root_certificates: str | None) -> None:
    """Write into Flower's folder where the SuperLink is, under the name `here`."""
    home.mkdir(parents=True, exist_ok=True)
    secured = "insecure = true" if root_certificates is None else f"root-certificates = {json.dumps(root_certificates)}"
    text = f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{superlink}"\n{secured}\n'
    (home / "config.toml").write_text(text, encoding="utf-8")


def flwr(environment: Mapping[str, str], *arguments: str, limit: float = 120.0) -> dict[str, object]:
    """Return what Flower's own command answers; ConnectionError where it fails."""
    command = [found("flwr"), *arguments, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=dict(environment), check=False)
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        answer = {}
    if not answer.get("success"):
        said = answer.get("error-message") or (done.stderr + done.stdout).strip() or f"status {done.returncode}"
        raise ConnectionError(f"`flwr {' '.join(arguments[:2])}` failed: {said}")
    return dict(answer)
