"""A site's own record: it is on the disk before anything leaves, and equals the server's ledger entry by entry."""

import hashlib
import json
import os
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from wire import Stopping, Wire, fit_over, rows_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote import audit
from skfdrmfl.clients.remote.audit import Audit, differences, read_audit
from skfdrmfl.clients.remote.codec import from_packet
from skfdrmfl.clients.remote.packet import Refusal, Request
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.site.site_data import site_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)) @ RNG.standard_normal((3, 8)) + 0.3 * RNG.standard_normal((90, 8))
Y = X[:, 0] + 0.1 * RNG.standard_normal(90)
SITES = np.array(["x", "b", "c"])[np.arange(90) % 3]
HOLES = np.where((SITES == "c")[:, None] & (np.arange(8) >= 5), np.nan, X)
FRAME = pd.DataFrame({"n": X[:, 0], "kind": np.where((X[:, 2] > 0) & (SITES == "b"), "up", "down"), "m": X[:, 1]})
# Networks of which some stop before others.
STOPS = {"tuning": "mixture", "early_stopping": True, "n_iter_no_change": 1, "n_rounds": 6, "learning_rate": 0.1}
TWO = {"modalities": {"a": slice(0, 5), "b": slice(5, None)}}


def estimator(**parameters):
    return FDRMFLTransformer(**({"tuning": None, "n_rounds": 3, "local_epochs": 1, "random_state": 0} | parameters))


def fit_audited(folder, parameters, table=X, watches=(), sites=SITES, kind=Wire):
    """A model fitted over a wire, and the file of each site's record."""
    paths = {label: folder / f"{label}.jsonl" for label in np.unique(sites).tolist()}
    wire = kind(
        {
            f"at {label}": site_of(
                estimator(**parameters),
                rows_of(table, Y, np.flatnonzero(sites == label)),
                label,
                [*watches, Audit(path, label, policy="of " + label)],
            )
            for label, path in paths.items()
        }
    )
    return fit_over(wire, estimator(**parameters)), paths


def records_of(paths):
    return {label: read_audit(path) for label, path in paths.items()}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("parameters", "table"),
    [
        pytest.param(TWO, HOLES, id="missing modalities"),
        pytest.param({"early_stopping": True, "n_iter_no_change": 1, "n_rounds": 6}, X, id="early stopping"),
        pytest.param({"participation": 0.5, "algorithm": "scaffold", "aggregation": "mean"}, X, id="participation"),
        pytest.param({"aggregation": "median"}, FRAME, id="median, categories"),
        pytest.param(STOPS, X, id="mixture, early stopping"),
    ],
)
def test_the_records_of_all_sites_are_the_ledger(parameters, table, tmp_path):
    model, paths = fit_audited(tmp_path, parameters, table)
    log, records = model.federation_log_, records_of(paths)
    assert differences(log, records) == []
    # Once more, by hand.
    there = Counter()
    for entries in records.values():
        for e in entries:
            if e["counted"]:
                there[e["round"], e["what"], json.dumps(e["shape"])] += e["bytes"]
    counted = Counter()
    for m in log:
        if m.direction == "up":
            counted[m.round, m.what.removeprefix("mixture: "), json.dumps(m.shape)] += m.bytes
    assert there == counted


def test_a_site_that_holds_out_no_row_sends_no_errors(tmp_path):
    sites = np.where(np.arange(90) == 4, "b", np.where(SITES == "b", "c", SITES))
    model, paths = fit_audited(tmp_path, {"early_stopping": True}, sites=sites)
    records = records_of(paths)
    assert differences(model.federation_log_, records) == []
    assert {label: any(e["what"] == "errors on rows held out" for e in of) for label, of in records.items()} == {
        "b": False,
        "c": True,
        "x": True,
    }


@pytest.mark.slow
def test_networks_that_have_stopped_are_not_asked_how_they_err(tmp_path):
    n_asked = []

    class Looking(Wire):
        """Looks at what is said of rows held out."""

        def answer(self, address, packet):
            back = super().answer(address, packet)
            request = Request.of_packet(packet)
            if request.what == "held out":
                running, (_, sums) = from_packet(request.about), from_packet(back)
                silent = np.setdiff1d(np.arange(len(sums.n_rows)), running)
                assert sums.n_rows[running].all() and not any(part[silent].any() for part in sums[:4])
                n_asked.append(len(running))
            return back

    fit_audited(tmp_path, STOPS, kind=Looking)
    assert len(set(n_asked)) > 1  # else nothing has been looked at


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return fit_audited(tmp_path_factory.mktemp("sites"), {})


def test_a_line_says_from_how_many_rows_under_which_policy_and_which_bytes_went_out(tmp_path):
    class Listening(Wire):
        """Keeps the hash of each packet that comes from a site."""

        def answer(self, address, packet):
            back = super().answer(address, packet)
            text, data = back.flat()
            self.hashes = [*getattr(self, "hashes", []), hashlib.sha256(text.encode() + data).hexdigest()]
            return back

    wires = []
    model, paths = fit_audited(tmp_path, {}, kind=lambda sites: wires.append(Listening(sites)) or wires[0])
    entries = [e for label in sorted(paths) for e in read_audit(paths[label])]
    assert {e["sha256"] for e in entries} == set(wires[0].hashes)
    assert all(e["rows"] == e["fewest"] == 30 for e in entries if e["counted"])
    assert {e["policy"] for e in entries if e["site"] == "b"} == {"of b"}
    assert {e["run"] for e in entries} == set(model.federation_log_.runs) and len(model.federation_log_.runs) == 1
    first = read_audit(paths["b"])[0]
    assert (first["what"], first["counted"], first["rows"]) == ("describe", False, 30)


def test_a_record_that_was_changed_or_is_anothers_differs(fitted):
    model, paths = fitted
    log, records = model.federation_log_, records_of(paths)
    gone = [e for e in records["b"] if e["what"] != "parameters" or e["round"] != 2]
    said = differences(log, records | {"b": gone})
    assert said[0].startswith("'b': ") and len(said) == 2 and "round 2, parameters" in said[1]
    assert differences(log, {"b": gone}) == said[:1]  # of one site alone its own bytes are known
    assert differences(log, {"b": records["b"]}) == []
    assert "'z' is no site of the ledger" in differences(log, {"z": records["b"]})
    more = [*records["b"], *(e for e in records["b"] if e["what"] == "sums of Z")]
    assert any("sums of Z" in text for text in differences(log, records | {"b": more}))


def test_records_of_several_runs_are_held_to_the_ledger_by_the_name_of_the_run(tmp_path):
    first, _ = fit_audited(tmp_path, {})
    second, paths = fit_audited(tmp_path, {"n_rounds": 2})
    for model in (first, second):
        assert differences(model.federation_log_, records_of(paths)) == []


def test_a_server_that_goes_on_from_its_checkpoint_counts_both_runs_and_what_it_had_counted_is_in_the_records(tmp_path):
    parameters = {"n_rounds": 5, "checkpoint_path": tmp_path / "checkpoint", "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        fit_audited(tmp_path, parameters, kind=Stopping)
    model, paths = fit_audited(tmp_path, parameters)
    assert len(model.federation_log_.runs) == 2
    said = differences(model.federation_log_, records_of(paths))
    # What was sent to a server that had no time to count it, and what is sent again.
    assert said and all("record" in text and "0 messages" not in text for text in said)


def test_a_refused_question_is_in_the_record_and_nothing_has_left(tmp_path):
    class NoSums:
        def before(self, question):
            if question.what == "sum":
                raise Refusal("no sums leave here")

        def after(self, question, answer):
            pass

    with pytest.raises(NoAnswer, match="no sums leave here"):
        fit_audited(tmp_path, {}, watches=[NoSums()])
    entries = read_audit(tmp_path / "b.jsonl")
    refused = [e for e in entries if e["refused"]]
    assert [e["what"] for e in refused] == ["sums of columns", "sums of columns"]
    assert {(e["bytes"], e["rows"], e["reason"]) for e in refused} == {(0, 30, "no sums leave here")}


def test_nothing_leaves_that_could_not_be_written_down(tmp_path, monkeypatch):
    written = []

    def full(file):
        if written:
            raise OSError("no space left")
        written.append(file)

    monkeypatch.setattr(audit.os, "fsync", full)
    with pytest.raises(NoAnswer, match="OSError in"):
        fit_audited(tmp_path, {}, sites=np.full(90, "b"))


def test_lines_are_on_the_disk_before_the_answer_is_given(tmp_path, monkeypatch):
    order = []
    fsync = os.fsync
    monkeypatch.setattr(audit.os, "fsync", lambda file: (order.append("disk"), fsync(file)))

    class Ordered(Wire):
        def answer(self, address, packet):
            back = super().answer(address, packet)
            order.append("answer")
            return back

    fit_audited(tmp_path, {}, kind=Ordered)
    assert order[::2] == ["disk"] * (len(order) // 2) and order[1::2] == ["answer"] * (len(order) // 2)


@pytest.mark.parametrize("n_bytes", [1, 7, 200, -1])
def test_a_torn_line_is_of_an_answer_that_did_not_leave(fitted, tmp_path, n_bytes):
    """A kill leaves the beginning of what was being written, whole lines of the answer's first messages or none."""
    whole = fitted[1]["b"].read_bytes().splitlines(keepends=True)
    start = next(i for i, line in enumerate(whole) if json.loads(line)["part"][1] == 2)  # two messages of one answer
    path = tmp_path / "b.jsonl"
    for n_whole in (start, start + 1):
        torn = whole[n_whole][:n_bytes]
        path.write_bytes(b"".join(whole[:n_whole]) + torn)
        before = [json.loads(line) for line in whole[:start]]
        assert read_audit(path) == before
        Audit(path, "b")  # reopened after the kill, and gone on with
        with path.open("ab") as file:
            file.write(b"".join(whole[start:]))
        assert read_audit(path) == [json.loads(line) for line in whole]


def test_reopening_a_whole_record_changes_nothing(fitted):
    path = fitted[1]["b"]
    before = path.read_bytes()
    Audit(path, "b")
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"nothing", b"{}", b'{"part": [1, 1]}', b"[1]", b"\xff\xfe"])
def test_a_file_that_is_no_record_is_refused(tmp_path, line):
    (tmp_path / "other").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match="line 1 is none of a site's record"):
        read_audit(tmp_path / "other")


@pytest.mark.parametrize("content", [b"a,fat\n1,2\n", b"a,fat", b'{"a": 1}\n'])
def test_nothing_is_appended_to_what_is_no_record(tmp_path, content):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="record"):
        Audit(path, "b")
    assert path.read_bytes() == content


def test_a_record_that_cannot_be_written_is_an_error_before_anything_is_answered(tmp_path):
    with pytest.raises(FileNotFoundError):
        Audit(tmp_path / "nowhere" / "a.jsonl", "b")


def test_a_record_is_for_its_site_alone(fitted):
    assert os.stat(fitted[1]["b"]).st_mode & 0o077 == 0
