"""`skfdrmfl site` and `skfdrmfl server`: what is refused before anything is read, started or sent; a site's process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from skfdrmfl.cli.main import _parser, main
from skfdrmfl.cli.site import read_site
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet, Request
from skfdrmfl.courier import programs
from skfdrmfl.courier.sockets import answered
from skfdrmfl.tables.errors import UsageError


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "north.csv"
    path.write_text("a,b,fat\n" + "\n".join(f"{i},{i * i % 7},{i % 5}.5" for i in range(30)) + "\n")
    return path


def refusal(capsys, *arguments):
    """The status and the last line of what is said of a command that ends at once."""
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err.strip().splitlines()[-1]


def site(*arguments):
    return ("site", "--label", "north", *arguments)


def test_a_site_without_rows_and_without_a_supernode_is_refused(capsys, tmp_path):
    status, said = refusal(capsys, *site("--socket", tmp_path / "a"))
    assert status == 2 and "--data: none names the site's rows" in said


@pytest.mark.parametrize(
    ("address", "fact"),
    [("x" * 200, "longer than 100 bytes"), ("nowhere/a", "in a folder that is not there")],
)
def test_an_address_that_can_be_no_socket_is_refused(capsys, table, address, fact):
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", "--socket", address))
    assert status == 2 and fact in said


def test_a_policy_that_is_none_is_refused_by_its_entry(capsys, table, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("fewest_row = 3\n")
    where = ("--socket", tmp_path / "a.socket")
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", "--policy", policy, *where))
    assert status == 1 and "fewest_row is no entry of a policy" in said
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", "--policy", tmp_path / "no", *where))
    assert status == 1 and "No such file" in said
    assert not (tmp_path / "a.socket").exists()


@pytest.mark.parametrize(
    ("state", "fact"), [("nowhere/s.json", "folder is not there"), ("s.json", "has no counts of a policy")]
)
def test_a_file_that_cannot_count_is_refused_before_anything_is_answered(capsys, table, tmp_path, state, fact):
    policy = tmp_path / "policy.toml"
    policy.write_text(f'runs = 3\nstate = "{state}"\n')
    (tmp_path / "s.json").write_text('{"runs"')
    where = ("--socket", tmp_path / "a.socket")
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", "--policy", policy, *where))
    assert status == 1 and fact in said and not (tmp_path / "a.socket").exists()
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", "--policy", policy, "--dry-run"))
    assert status == 1 and fact in said


@pytest.mark.parametrize(
    ("rows", "fact"),
    [
        ("1,,2\n1,4,3\n" * 6, "these rows cannot be fitted: Input X contains NaN"),
        ("1,2,3\n2,2,4\n3,1,9\n" * 3, "9 rows are fewer than the 10 of"),
    ],
)
def test_rows_of_which_nothing_could_be_answered_are_refused_before_anybody_asks(capsys, tmp_path, rows, fact):
    table = tmp_path / "rows.csv"
    table.write_text(f"a,b,fat\n{rows}")
    where = ("--socket", tmp_path / "a.socket", "--missing", "keep")
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", *where))
    assert status == 1 and fact in said and not (tmp_path / "a.socket").exists()


def test_a_record_is_never_written_into_the_rows(capsys, table, tmp_path):
    before = table.read_bytes()
    where = ("--socket", tmp_path / "a.socket", "--audit", table)
    status, said = refusal(capsys, *site("--data", table, "--target", "fat", *where))
    assert status == 1 and "is no site's record" in said and table.read_bytes() == before


@pytest.mark.parametrize("label", ["", " a", 'a"b', "a,b", "a/b", "a\\b", "a\nb"])
def test_a_label_that_nobody_could_name_is_refused(capsys, table, label):
    status, said = refusal(capsys, "site", "--label", label, "--data", table, "--target", "fat")
    assert status == 2 and "--label" in said


@pytest.mark.parametrize("address", ["nowhere", ":9100", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:0"])
@pytest.mark.parametrize("option", ["--supernode", "--listen", "--superlink"])
def test_what_is_no_address_is_refused_by_its_option(capsys, table, tmp_path, option, address):
    of_site = site("--data", table, "--target", "fat", "--socket", tmp_path / "a.socket")
    command = of_site if option == "--supernode" else ("server", "--sites", "a", "--output", tmp_path / "m.skfdrmfl")
    status, said = refusal(capsys, *command, option, address)
    assert status == 2 and f"{option}: {address} is no HOST:PORT" in said


def test_a_group_or_key_that_is_not_there_is_refused(capsys, table, tmp_path):
    of_site = site("--data", table, "--target", "fat", "--socket", tmp_path / "a.socket")
    status, said = refusal(capsys, *of_site, "--group", "no-such-group")
    assert status == 2 and "--group: no-such-group is no group" in said
    status, said = refusal(capsys, *of_site, "--supernode", "127.0.0.1:9100", "--auth-key", tmp_path / "no")
    assert status == 2 and "--auth-key" in said


def test_nothing_goes_over_a_network_in_clear_unless_it_is_meant(capsys, table, tmp_path):
    where = ("--socket", tmp_path / "a.socket", "--data", table, "--target", "fat")
    status, said = refusal(capsys, *site(*where, "--supernode", "fl.example.org:9100"))
    assert status == 2 and "would be talked to in clear" in said
    status, said = refusal(capsys, "server", "--sites", "north", "--listen", "0.0.0.0:9100")
    assert status == 2 and "would be talked to in clear" in said


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ((), "--sites: none says whom to wait for"),
        (("--sites", "a", "--certificate", "c.pem"), "needs its key and authority"),
        (("--sites", "a", "--site-key", "a.pub"), "needs encryption"),
        (
            (
                "--sites",
                "a",
                *("--certificate", "c"),
                *("--key", "k"),
                *("--root-certificates", "r"),
                "--listen",
                "h:1",
            ),
            "--site-key: none says whom to let in",
        ),
        (("--sites", "a", "--set", "n_round=3"), "did you mean n_rounds"),
    ],
)
def test_a_server_is_refused_by_the_option_before_anything_starts(capsys, tmp_path, monkeypatch, arguments, fact):
    monkeypatch.chdir(tmp_path)
    status, said = refusal(capsys, "server", *arguments)
    assert status == 2 and fact in said
    assert not list(tmp_path.iterdir())


def test_without_flower_it_is_said_how_to_install_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs.shutil, "which", lambda name, path: None)
    status, said = refusal(capsys, "server", "--sites", "north")
    assert status == 1 and "pip install" in said and "flwr" in said


def test_rows_of_one_site_are_taken_from_a_table_of_several(tmp_path, capsys):
    path = tmp_path / "all.csv"
    path.write_text("where,a,fat\n" + "\n".join(f"{'ns'[i % 2]},{i * i},{i}.5" for i in range(30)) + "\n")

    def rows(only):
        arguments = ["--data", str(path), "--target", "fat", "--only", only]
        return read_site(_parser().parse_args(list(site(*arguments))))[1]

    X, y = rows("where=s")
    assert X.columns.tolist() == ["a"] and X["a"].tolist() == [i * i for i in range(1, 30, 2)]
    assert y.tolist() == [i + 0.5 for i in range(1, 30, 2)]
    with pytest.raises(UsageError, match="where names no value; write --only where=VALUE"):
        rows("where")
    with pytest.raises(UsageError, match="is the value of no row"):
        rows("where=x")
    with pytest.raises(UsageError, match="names no column"):
        rows("site=s")


@pytest.mark.slow
def test_a_site_that_is_killed_leaves_a_socket_that_the_next_takes_over_and_sigterm_leaves_none(table, tmp_path):
    address = tmp_path / "a.socket"
    command = [sys.executable, "-m", "skfdrmfl", *site("--data", table, "--target", "fat", "--socket", address)]
    who = Request("who", -1, to_packet(None)).packet().flat()
    for end, remains in ((signal.SIGKILL, True), (signal.SIGTERM, False)):
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            back, data = answered(str(address), "", *who, 60.0, 60.0)
            assert from_packet(Packet.of_flat(back, bytes(data))) == ("done", "north")
            assert oct(os.stat(address).st_mode)[-3:] == "600"
        finally:
            process.send_signal(end)
            said, _ = process.communicate(timeout=60)
        assert address.exists() == remains
        assert "answers from 10 rows or more" in said
        assert "plan: a mixture of 30 rows x 1 columns" in said  # the other one numbers the rows


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no groups of processes here")
def test_a_program_ends_with_whoever_started_it(tmp_path):
    script = tmp_path / "program"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/number\nexec sleep 60\n")
    script.chmod(0o700)
    said = []
    program = programs.Program([str(script)], dict(os.environ), said.append)
    end = time.monotonic() + 20
    while not (tmp_path / "number").exists() or not (tmp_path / "number").read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    number = int((tmp_path / "number").read_text())
    os.kill(number, 0)
    program.process.stdin.close()  # as it is when the process that has it is killed
    program.process.wait(20)
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < end:
            os.kill(number, 0)
            time.sleep(0.01)
    program.close()


def test_a_lasting_program_is_started_again_and_what_it_says_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "AGAIN", 0.01)
    script = tmp_path / "program"
    script.write_text("#!/bin/sh\nprintf '\\033[92mINFO \\033[0m:  noise\\nERROR: something\\n'\nexit 3\n")
    script.chmod(0o700)
    said = []
    program = programs.Program([str(script)], dict(os.environ), said.append, lasting=True, name="node")
    end = time.monotonic() + 20
    while said.count("node ended with status 3; it is started again.") < 2:
        assert time.monotonic() < end and not program.is_over
        time.sleep(0.01)
    program.close()
    assert set(said) == {"node: ERROR: something", "node ended with status 3; it is started again."}


def test_a_server_without_an_accountant_says_so_before_anything_starts(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skfdrmfl.server.privacy.accountant.find_spec", lambda name: None)
    monkeypatch.setattr("skfdrmfl.cli.server.channel_to_sites", lambda *unused: pytest.fail("a run was started"))
    private = ("--set", "dp_noise_multiplier=1.0", "--set", "dp_clip_norm=0.1", "--set", "preprocessing=standardize")
    private += ("--set", 'dp_bounds={"X": [0, 6], "y": [0, 60]}', "--tuning", "none")
    status, said = refusal(capsys, "server", "--sites", "north", *private)
    assert status == 1 and 'pip install "dp-accounting' in said and "Traceback" not in said
