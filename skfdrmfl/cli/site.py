"""The command `site`: a process that alone holds a site's rows, and answers what a server asks of them."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from skfdrmfl.cli.columns import divide
from skfdrmfl.cli.folder import add_table, read_input
from skfdrmfl.cli.options import TABLE_FILE, add, add_command
from skfdrmfl.cli.output import output_folder, text_file
from skfdrmfl.cli.parameters import transformer
from skfdrmfl.cli.screen import interrupt_waits
from skfdrmfl.common.wording import shown
from skfdrmfl.courier.programs import Program, environment, found, free_port
from skfdrmfl.courier.sockets import is_loopback
from skfdrmfl.courier.warm import NAME, warmed
from skfdrmfl.tables.cells import text_of
from skfdrmfl.tables.errors import FileProblem, as_problem, wrong

LONGEST_PATH = 100  # bytes of a Unix socket's, on any system


def add_to(commands: Any) -> None:
    """Add the command and its options."""
    description = "Hold a site's rows, and answer what `skfdrmfl server` asks of them. Its policy says what; a "
    description += "socket of this machine is where. --supernode starts Flower's program that carries these answers;"
    description += " without --data that program alone, as another user who reaches no row."
    parser = add_command(commands, "site", run, description)
    add(parser, "--label NAME", "what the site is called, as the server's --sites has it", required=True)
    add(parser, "--data FILE", TABLE_FILE, type=Path, dest="file")
    only = "take the rows alone that have this value in this column, of a table that has several sites"
    add(parser, "--only NAME=VALUE", only)
    add(parser, "--policy FILE", "what may leave, in TOML (default: the careful one)", type=Path)
    add(parser, "--audit FILE", "record of what has left, to which lines are appended", type=Path)
    dry_run = "print what would leave, in order, and end; nothing leaves. With FILE, a table of it (.csv)"
    add(parser, "--dry-run [FILE]", dry_run, type=Path, nargs="?", const=Path())
    group = parser.add_argument_group("where it answers")
    where = "path of a Unix socket, or 127.0.0.1:PORT (default: ~/.skfdrmfl/NAME.socket)"
    add(group, "--socket ADDRESS", where)
    add(group, "--token FILE", "where the secret of 127.0.0.1 stands (default: ~/.skfdrmfl/NAME.token)", type=Path)
    add(group, "--group NAME", "group of users who may use the socket, such as that of the SuperNode's user")
    group = parser.add_argument_group("Flower's SuperNode")
    add(group, "--supernode HOST:PORT", "start one, connected to the server's SuperLink there")
    add_security(group, "--root-certificates FILE", "certificate authority of the server's certificate")
    add(group, "--auth-key FILE", "private key of this site, whose public half the server has", type=Path)
    add_table(parser, "keep")


def add_security(group: Any, usage: str, help: str) -> None:
    """Add the options that say how the network is secured."""
    add(group, usage, help, type=Path)
    group.add_argument("--insecure", action="store_true", help="no encryption; on 127.0.0.1 there is none anyway")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.dry_run is not None:
        _show_what_would_leave(args)
        return
    _check_label(args.label)
    address, token = _place(args)
    with ExitStack() as stack:
        before = signal.signal(signal.SIGTERM, lambda *unused: sys.exit(0))
        stack.callback(signal.signal, signal.SIGTERM, before)
        node = None if args.supernode is None else _supernode_command(args, address, token)
        if args.file is None:
            if node is None:
                remedy = "name a table, or a --supernode to start for another's"
                wrong("--data", "none", "names the site's rows", remedy)
            program = _started(node, stack)
            while not program.is_over:
                time.sleep(0.5)
            raise FileProblem("the SuperNode has ended; its output is above.")
        from skfdrmfl.site.listener import Listener

        answer = _process(args)
        try:
            listener = Listener(address, answer, token=token, group=args.group)
        except LookupError:
            wrong("--group", args.group, "is no group of this machine", "name one that is")
        stack.callback(listener.close)
        if not is_loopback(address):
            stack.callback(Path(address).unlink, missing_ok=True)
        said(f"{args.label} answers at {address}, as user {_user()}.")
        if node is None:
            said(f"Flower's SuperNode elsewhere: flower-supernode ... --node-config '{_config(args, address, token)}'")
        else:
            said(
                f"The SuperNode runs code that comes over the network as user {_user()}, who can read {args.file}; "
                "docs/run_a_site.md has the recipe of two users."
            )
            _started(node, stack)
        listener.serve()


def said(line: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def is_local(address: str) -> bool:
    """Return whether HOST:PORT is on this machine, so that nothing crosses a network."""
    host = address.rpartition(":")[0]
    return host in ("127.0.0.1", "localhost", "[::1]")


def port_of(address: str, option: str) -> int:
    """Return the port of HOST:PORT; refuse what is none."""
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        wrong(option, address, "is no HOST:PORT", "pass one such as 127.0.0.1:9100")
    return int(port)


def _check_label(label: str) -> None:
    """Refuse a label that no --sites can name, or no file or option of a SuperNode can have."""
    if not label or label != label.strip() or not label.isprintable() or set(label) & set("\"'\\,/"):
        remedy = "pass a word without quotes, commas, slashes or spaces around"
        wrong("--label", repr(label), "can be no site's", remedy)


def secured(args: argparse.Namespace, address: str, option: str) -> list[str]:
    """Return the options of Flower's programs that say how the network is secured; refuse to send in clear."""
    port_of(address, option)
    if args.root_certificates is not None:
        return ["--root-certificates", str(args.root_certificates)]
    if not args.insecure and not is_local(address):
        wrong(option, address, "would be talked to in clear", "pass --root-certificates, or --insecure to mean it")
    return ["--insecure"]


def _place(args: argparse.Namespace) -> tuple[str, str]:
    """Return where the site answers and the file of its token, which a Unix socket needs not; make their folder."""
    home = Path.home() / ".skfdrmfl"
    address = args.socket
    if address is None:
        home.mkdir(mode=0o700, exist_ok=True)
        unix = hasattr(socket, "AF_UNIX")
        address = str(home / f"{args.label}.socket") if unix else f"127.0.0.1:{free_port()}"
    if is_loopback(address):
        home.mkdir(mode=0o700, exist_ok=True)
        return address, str((args.token or home / f"{args.label}.token").absolute())
    address = os.path.abspath(address)
    if len(os.fsencode(address)) > LONGEST_PATH:
        wrong("--socket", address, f"is longer than {LONGEST_PATH} bytes, which no socket can be", "pass a shorter one")
    if not os.path.isdir(os.path.dirname(address)):
        wrong("--socket", address, "is in a folder that is not there", "make the folder, or pass another path")
    return address, ""


def read_site(args: argparse.Namespace) -> tuple[Any, tuple[Any, ...], Any]:
    """Return its estimator, its rows as `fit` takes them, and its policy; what was found is printed."""
    frame, notes = read_input(args.file, args)
    if args.only is not None:
        frame = _only(frame, args.only, notes)
    with interrupt_waits():
        from skfdrmfl.clients.policy import SitePolicy
        from skfdrmfl.clients.policy_watch import check_state

        estimator = transformer(args)
    with as_problem("", TypeError):
        policy = SitePolicy() if args.policy is None else SitePolicy.from_toml(args.policy)
        check_state(policy)
    columns = divide(frame, args, notes)
    print("\n".join(columns.notes), end="\n\n", flush=True)
    groups = () if columns.groups is None else (columns.groups.to_numpy(),)
    return estimator, (columns.X, columns.target, *groups), policy


def _only(frame: Any, only: str, notes: list[str]) -> Any:
    """Return the rows of a frame that have a value in a column."""
    name, _, value = only.partition("=")
    if "=" not in only:
        wrong("--only", only, "names no value", f"write --only {only}=VALUE")
    if name not in frame.columns:
        remedy = f"choose from {shown(list(frame.columns), 12)}"
        wrong("--only", only, f"names no column of the table ({name!r})", remedy)
    texts = text_of(frame[name])
    if not (texts == value).any():
        fact = f"is the value of no row ({shown(sorted(texts.dropna().unique()), 6)} are)"
        wrong("--only", only, fact, "name another")
    notes.append(f"Only rows with {only}: {int((texts == value).sum())} of {len(frame)}.")
    return frame.loc[(texts == value).to_numpy(dtype=bool, na_value=False)].drop(columns=name)


def _process(args: argparse.Namespace) -> Callable[[str, Any], tuple[str, bytes]]:
    """Return what answers for a site, and say by what it does."""
    from skfdrmfl.clients.remote.audit import Audit
    from skfdrmfl.fit.parameters import value_of
    from skfdrmfl.site.process import SiteProcess, Teller
    from skfdrmfl.site.site_data import SiteRows, site_of

    estimator, rows, policy = read_site(args)
    n_rows = len(rows[0])
    with as_problem("these rows cannot be fitted"):
        SiteRows(estimator, lambda: rows, args.label).check()
    if n_rows < policy.fewest_rows:
        few = f"{n_rows} rows are fewer than the {policy.fewest_rows} of which the policy lets anything leave"
        raise FileProblem(f"{few}; bring more, or lower fewest_rows in a --policy, and give them away.")
    with as_problem("", OSError):
        record = [] if args.audit is None else [Audit(args.audit, args.label, policy.digest)]
        watches: list[Any] = [Teller(said), *record]
        answers = site_of(estimator, lambda: rows, args.label, watches, policy=policy)
    said(f"policy {policy.digest}: {args.policy or 'the careful one'}, answers from {policy.fewest_rows} rows or more.")
    one = "one network" if estimator.tuning is None else "a mixture"
    size, n_rounds = f"{n_rows} rows x {rows[0].shape[1]} columns", int(value_of(estimator, "n_rounds"))
    said(f"plan: {one} of {size}; its sums and up to {n_rounds} updates leave.")
    return SiteProcess(answers)


def _show_what_would_leave(args: argparse.Namespace) -> None:
    """Print what would leave the site, and write it where a file is named."""
    if args.file is None:
        wrong("--dry-run", "none", "has no rows to look at", "name them by --data")
    names = [] if args.dry_run == Path() else [args.dry_run.name]
    with output_folder("--dry-run", args.dry_run.parent, names, [args.file]) as write:
        estimator, rows, policy = read_site(args)
        with interrupt_waits():
            from skfdrmfl.site.dry_run import dry_run
        with as_problem("these rows cannot be fitted"):
            found = dry_run(estimator, lambda: rows, args.label, policy)
        print(found, flush=True)
        write({name: text_file(found.to_csv()) for name in names})


def _config(args: argparse.Namespace, address: str, token: str) -> str:
    """Return how a SuperNode is told whom to ask."""
    return f'client="{args.label}" socket="{address}"' + (f' token="{token}"' if token else "")


def _supernode_command(args: argparse.Namespace, address: str, token: str) -> list[str]:
    """Return the command of the SuperNode."""
    config = _config(args, address, token)
    command = ["flower-supernode", "--superlink", args.supernode, "--port", str(free_port()), "--node-config", config]
    command += secured(args, args.supernode, "--supernode")
    for option, path in (("--auth-key", args.auth_key), ("--root-certificates", args.root_certificates)):
        if path is not None and not path.is_file():
            wrong(option, path, "is no file", "name one that is there")
    if args.auth_key is not None:
        command += ["--auth-supernode-private-key", str(args.auth_key)]
    return command


def _started(command: list[str], stack: ExitStack) -> Program:
    """Return the SuperNode, started; it is started again where it ends, as it does when the server's SuperLink has."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skfdrmfl-", ignore_cleanup_errors=True)))
    of_flower = environment(home)
    if (warm := warmed(home, of_flower, found(NAME))) is not None:
        stack.callback(Program(warm[0], of_flower, said, lasting=True, name="couriers").close)
        of_flower = warm[1]
    program = Program(command, of_flower, said, lasting=True)
    stack.callback(program.close)
    said(f"SuperNode started, for the SuperLink at {command[2]}.")
    return program


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
