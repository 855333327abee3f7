"""A federation of real processes on this machine: a SuperLink, SuperNodes, a run, and their end, each with a limit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

BIN = Path(sys.executable).parent
APP = Path(__file__).parent / "flower_app"
ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Processes:
    """Starts and ends them; each is the leader of a group of its own, and ends by its number.

    Parameters
    ----------
    folder : Path
    parameters : dict
        Of the estimator.
    tls : dict, default=None
        Paths of "ca", "certificate" and "key"; None: no encryption.
    settings : dict
        More for `flower_app/federation.py`.
    """

    def __init__(self, folder, parameters, tls=None, database=False, app=APP, **settings):
        self.folder, self.tls, self.app = Path(folder), tls, app
        self.output = self.folder / "model.skfdrmfl"
        self.running = {}
        self.port = free_port()
        self.database = self.folder / "state.db" if database else None
        home = self.folder / "home"
        home.mkdir(parents=True)
        chosen = f'root-certificates = "{tls["ca"]}"' if tls else "insecure = true"
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "loop"\n\n[superlink.loop]\naddress = "127.0.0.1:{self.port}"\n{chosen}\n'
        )
        content = {"parameters": parameters, "output": str(self.output), "folder": str(self.folder), **settings}
        (self.folder / "settings.json").write_text(json.dumps(content))
        self.environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
            "SKFDRMFL_TEST": str(self.folder / "settings.json"),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }

    def __enter__(self):
        self.start_superlink()
        return self

    def __exit__(self, *exception):
        for name in list(self.running):
            self.stop(name)
        if exception[0] is not None:
            for log in sorted(self.folder.glob("*.log")):
                print(f"===== {log.name}\n{log.read_text(errors='replace')[-4000:]}")

    def start(self, name, *arguments, **more):
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [BIN / arguments[0], *map(str, arguments[1:])],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self.environment, **more},
                start_new_session=True,
                cwd=self.folder,
            )
        self.running[name] = process
        return process

    def stop(self, name, sign=signal.SIGTERM, patience=10):
        """End a process and all of its group."""
        process = self.running.pop(name)
        for s in (sign, signal.SIGKILL):
            try:
                os.killpg(process.pid, s)
            except ProcessLookupError:
                break
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        process.wait(patience)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def start_superlink(self, *more):
        arguments = ["flower-superlink", "--host", "127.0.0.1", "--port", self.port, "--isolation", "subprocess"]
        if self.tls:
            arguments += ["--ssl-ca-certfile", self.tls["ca"], "--ssl-certfile", self.tls["certificate"]]
            arguments += ["--ssl-keyfile", self.tls["key"], "--enable-supernode-auth"]
        else:
            arguments += ["--insecure"]
        if self.database:
            arguments += ["--database", self.database]
        self.start("superlink", *arguments, *more)
        self.wait_for(lambda: self.listens(), 60, "the SuperLink")

    def listens(self):
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def start_node(self, client, key=None, port=None):
        arguments = ["flower-supernode", "--superlink", f"127.0.0.1:{port or self.port}", "--port", free_port()]
        arguments += ["--node-config", f'client="{client}"']
        if self.tls:
            arguments += ["--root-certificates", self.tls["ca"]]
        else:
            arguments += ["--insecure"]
        if key:
            arguments += ["--auth-supernode-private-key", key]
        process = self.start(f"node {client}", *arguments, SKFDRMFL_CLIENT=client)
        (self.folder / f"node {client}").write_text(str(process.pid))

    def flwr(self, *arguments, limit=60):
        done = subprocess.run(
            [BIN / "flwr", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=limit,
            env=self.environment,
            cwd=self.folder,
        )
        return done

    def submit(self, **config):
        """Start a run, and return its number."""
        more = [] if not config else ["--run-config", " ".join(f"{k.replace('_', '-')}={v}" for k, v in config.items())]
        done = self.flwr("run", self.app, "loop", "--format", "json", *more)
        answer = json.loads(done.stdout[done.stdout.index("{") :]) if "{" in done.stdout else {}
        assert answer.get("success"), f"{done.stdout}\n{done.stderr}"
        return int(answer["run-id"])

    def status(self, run):
        done = self.flwr("ls", "loop", "--run-id", run, "--format", "json")
        answer = json.loads(done.stdout[done.stdout.index("{") :])
        return answer["runs"][0]["status"]

    def wait_for_run(self, run, limit):
        """The last status of a run. It has ended when its report is there; to ask Flower costs seconds each time."""
        self.wait_for(lambda: self.report()["run"] == run, limit, "the end of the run")
        end = time.monotonic() + 30
        while not (status := self.status(run)).startswith("finished"):
            assert time.monotonic() < end, f"the run is {status} after its report"
        return status

    def wait_for(self, happens, limit, what):
        end = time.monotonic() + limit
        while not happens():
            assert time.monotonic() < end, f"{what}: not within {limit} s"
            time.sleep(0.2)

    def report(self):
        """What the last run that has ended left beside the model."""
        path = Path(f"{self.output}.json")
        return json.loads(path.read_text() or '{"run": 0}') if path.exists() else {"run": 0}
