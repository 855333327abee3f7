"""The command `server`: sites are waited for, asked, and a model of all their rows is written."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from skfdrmfl.cli.options import add, add_command, add_model, add_names, at_least, names_meant
from skfdrmfl.cli.output import output_folder
from skfdrmfl.cli.parameters import transformer
from skfdrmfl.cli.screen import Interrupted, interrupt_waits
from skfdrmfl.cli.site import add_security, is_local, port_of, said, secured
from skfdrmfl.courier.app import flwr, write_address, write_app
from skfdrmfl.courier.programs import Program, environment, free_port, wait_for_port
from skfdrmfl.courier.sockets import listen
from skfdrmfl.tables.errors import FileProblem, as_problem, wrong

PORT = 9100


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Fit a model to rows of sites that run `skfdrmfl site`. They are waited for, and no row is seen. "
    description += "Flower's SuperLink is started beside it, and ends with it."
    parser = add_command(commands, "server", run, description)
    add(parser, "--output FILE", "the model", type=Path, default=Path("out", "model.skfdrmfl"))
    add_names(parser, "--target NAME", "what predictions of the model are called")
    add(parser, "--random-state S", "seed of all that is random", type=at_least(0), default=0)
    add(parser, "--networks N", "networks that a mixture has at most", type=at_least(1), default=1)
    add(parser, "--checkpoint FILE", "a run that was stopped goes on from here", type=Path)
    add_sites(parser)


def add_sites(parser: Any) -> None:
    """Add the options that say which sites are asked, how they are reached, and what they have alike."""
    add_names(parser, "--sites NAME", "labels of the sites that take part, and without whom nothing begins")
    add(parser, "--n-sites N", "how many take part, whatever they are called", type=at_least(1))
    add(parser, "--wait SECONDS", "for sites that are missing", type=at_least(0), default=300)
    add(parser, "--answer-within SECONDS", "after which a site is left out of a round", type=at_least(1), default=600)
    prefix = "as at the sites: columns called nir__850, raman__200, ... are modalities nir and raman"
    add(parser, "--modalities", prefix, choices=("prefix",))
    away = "that a site may be away, as while it is started again, before rounds go on without it"
    add(parser, "--patience SECONDS", away, type=at_least(0), default=180)
    group = parser.add_argument_group("Flower's SuperLink")
    add(group, "--listen HOST:PORT", "where sites connect to", default=f"127.0.0.1:{PORT}")
    add(group, "--superlink HOST:PORT", "one that runs on this machine already; none is started")
    add(group, "--certificate FILE", "of the server, for the name that sites connect to", type=Path)
    add(group, "--key FILE", "private key of the certificate", type=Path)
    add(group, "--site-key FILE", "public key of a site; those without one are not let in", type=Path, action="append")
    add_security(group, "--root-certificates FILE", "certificate authority of the certificate")
    add_model(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    n_sites = number_of_sites(args)
    superlink_command(args)  # refuses what cannot be, before anything is made
    inputs = [path for path in (args.certificate, args.key, args.checkpoint) if path is not None]
    with output_folder("--output", args.output.parent, [args.output.name], inputs) as write, ExitStack() as stack:
        before = signal.signal(signal.SIGTERM, lambda *unused: sys.exit(1))
        stack.callback(signal.signal, signal.SIGTERM, before)
        with interrupt_waits():
            from skfdrmfl.fit.saving import check_saves, save
            from skfdrmfl.protocol.door import NoAnswer
            from skfdrmfl.site.remote_fit import check_parameters, fit_over_channel

            model = transformer(args, random_state=args.random_state)
        if args.checkpoint is not None:
            model.set_params(checkpoint_path=args.checkpoint, checkpoint_every=1)
        verbose, model.verbose = model.verbose, 2
        check_saves(model)
        try:
            with as_problem("no model could be fitted", NoAnswer):
                check_parameters(model, args.networks)
                channel = channel_to_sites(args, stack)
                said(f"plan: {n_sites} sites, {_plan(model)}")
                channel.gather(n_sites)
                fit_over_channel(model, channel, networks=args.networks)
        except KeyboardInterrupt as error:
            kept = (
                "nothing was written" if args.checkpoint is None else f"{args.checkpoint} has the rounds that are done"
            )
            raise Interrupted(f"{kept}; the same command begins again.") from error
        channel.close()
        model.verbose = verbose
        names = getattr(model, "feature_names_in_", [])
        about = {"targets": names_meant(args.target), "features": [str(name) for name in names], "missing": "keep"}
        write({args.output.name: partial(save, model, model._fitted, about=about)})
        _say_result(model, channel)


def number_of_sites(args: argparse.Namespace) -> int:
    """Return how many sites have to be there; refuse where nobody says."""
    if not args.sites and args.n_sites is None:
        wrong("--sites", "none", "says whom to wait for", "name them, or pass --n-sites")
    args.sites = names_meant(args.sites)
    return max(len(set(args.sites)), args.n_sites or 0)


def channel_to_sites(args: argparse.Namespace, stack: ExitStack) -> Any:
    """Return the channel over a run of Flower that has been started; all of it ends with the stack."""
    from skfdrmfl.courier.channel import RunChannel

    connection = _run_of_flower(args, superlink_command(args), stack)
    times = {"answer_within": float(args.answer_within), "wait": float(args.wait), "patience": float(args.patience)}
    return RunChannel(connection, args.sites, **times, say=said)


def _plan(model: Any) -> str:
    """Return in words what is asked for, as far as it is known before any site is there."""
    from skfdrmfl.fit.parameters import value_of

    shape = "one network" if model.tuning is None else "a mixture"
    rounds, epochs, algorithm = (value_of(model, name) for name in ("n_rounds", "local_epochs", "algorithm"))
    return f"{shape}, {rounds} rounds of {epochs} epochs, {algorithm}"


def _say_result(model: Any, channel: Any) -> None:
    """Say how many rows there are, who was left out, and what has passed."""
    rows = dict(zip(map(str, model.clients_), model.n_samples_per_client_.tolist(), strict=True))
    said(f"fitted to {sum(rows.values())} rows: {', '.join(f'{name} {n}' for name, n in rows.items())}")
    for entry in model.dropped_clients_:
        said(f"left out: {entry}")
    said(channel.passed())
    print(model.diagnose(), flush=True)


def _run_of_flower(args: argparse.Namespace, command: list[str] | None, stack: ExitStack) -> socket.socket:
    """Return the connection to the ServerApp of a run that has been started; all of it ends with the stack."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skfdrmfl-", ignore_cleanup_errors=True)))
    home = folder / "home"
    unix = hasattr(socket, "AF_UNIX")
    address, token = (str(folder / "run.socket"), "") if unix else (f"127.0.0.1:{free_port()}", str(folder / "token"))
    server, secret = listen(address, token)
    stack.callback(server.close)
    where = args.superlink or args.listen
    port = int(where.rpartition(":")[2])
    certificates = None if args.root_certificates is None else str(args.root_certificates.absolute())
    write_address(home, f"127.0.0.1:{port}", certificates)
    of_flower = environment(home)
    program = None
    if command is not None:
        program = Program(command, of_flower, said)
        stack.callback(program.close)
        wait_for_port(port, program, 60.0)
        said(f"SuperLink started; sites connect to {where}.")
    with ThreadPoolExecutor() as pool:  # each takes Flower seconds
        keys = args.site_key or []
        for answer in [pool.submit(flwr, of_flower, "supernode", "register", str(key), "here") for key in keys]:
            answer.result()
    if keys:
        said(f"{len(keys)} keys of sites are registered.")
    app = write_app(folder / "app")
    given = {"socket": address, "token": token}  # JSON writes a text as TOML does
    config = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    submitted = flwr(of_flower, "run", str(app), "here", "--run-config", config)
    said(f"run {submitted.get('run-id')} started.")
    end = time.monotonic() + 120.0
    server.settimeout(1.0)
    while True:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            if time.monotonic() > end or (program is not None and program.is_over):
                raise FileProblem("Flower's run has not begun; its output is above.") from None
            continue
        connection.settimeout(10.0)
        if not secret or connection.recv(len(secret)) == secret:
            stack.callback(connection.close)
            return connection
        connection.close()


def superlink_command(args: argparse.Namespace) -> list[str] | None:
    """Return the command of the SuperLink, None where one runs already; refuse what cannot be."""
    if args.superlink is not None:
        port_of(args.superlink, "--superlink")
        return None
    port_of(args.listen, "--listen")
    host, _, port = args.listen.rpartition(":")
    command = ["flower-superlink", "--host", host, "--port", port, "--isolation", "subprocess"]
    if args.certificate is None:
        secured(args, args.listen, "--listen")
        if args.site_key:
            wrong("--site-key", args.site_key[0], "needs encryption", "pass --certificate, --key, --root-certificates")
        return [*command, "--insecure"]
    if args.key is None or args.root_certificates is None:
        wrong("--certificate", args.certificate, "needs its key and authority", "pass --key and --root-certificates")
    command += ["--ssl-certfile", str(args.certificate), "--ssl-keyfile", str(args.key)]
    command += ["--ssl-ca-certfile", str(args.root_certificates)]
    if not is_local(args.listen) and not args.site_key:
        wrong("--site-key", "none", "says whom to let in, and anybody could come", "pass the public key of each site")
    return [*command, "--enable-supernode-auth"] if args.site_key else command
