"""A dry run: what would leave a site is what leaves it, to the message, and what few rows give away is said."""

import socket
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.policy import SitePolicy
from skfdrmfl.site.dry_run import dry_run

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
FRAME = pd.DataFrame({"n": X[:, 0], "kind": np.where(np.arange(60) == 7, "rare", "usual"), "m": X[:, 1]})


def estimator(**parameters):
    return FDRMFLTransformer(**({"tuning": None, "n_rounds": 3, "local_epochs": 1, "random_state": 0} | parameters))


def of_rows(n, table=X):
    return lambda: (table[:n] if isinstance(table, np.ndarray) else table.iloc[:n], Y[:n])


def revealed(run, what):
    return {text for name, text in zip(run["what"], run["reveals"], strict=True) if name == what}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("parameters", "table"),
    [({}, X), ({"early_stopping": True}, X), ({}, FRAME), ({"tuning": "mixture"}, X)],
    ids=["network", "early stopping", "categories", "mixture"],
)
def test_what_would_leave_is_what_a_fit_of_these_rows_sends(parameters, table):
    """The oracle is the ledger of a fit in one memory, which no packet reaches."""
    run = dry_run(estimator(**parameters), of_rows(60, table), "north", networks=9)
    model = estimator(**parameters).fit(table, Y, client_ids=np.full(60, "north"))
    sent = Counter()
    for m in model.federation_log_:
        if m.direction == "up":
            sent[m.round, m.what.removeprefix("mixture: "), m.shape] += m.bytes
    there = Counter()
    for number, what, shape, n_bytes, counted in zip(
        *(run[name] for name in ("round", "what", "shape", "bytes", "counted")), strict=True
    ):
        if counted:
            there[number, what, shape] += n_bytes
    for extra in [key for key in sent if key[1] == "rows by modality" and key not in there]:
        del sent[extra]  # over a wire they were told with the description
    assert there == sent


def test_it_never_touches_a_network_nor_the_estimator(monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    own = estimator(availability=lambda t, client: client == "south", min_clients=2, n_byzantine=1, warm_start=True)
    before = own.get_params()
    dry_run(own, of_rows(20), "north")
    assert own.get_params() == before and not hasattr(own, "clients_")


def test_nothing_is_printed(capsys):
    dry_run(estimator(verbose=2, tuning="mixture"), of_rows(40), "north")
    assert capsys.readouterr().out == ""


def test_one_row_is_said_to_leave_as_it_is():
    run = dry_run(estimator(), of_rows(1), "north")
    assert revealed(run, "sums of columns") == {"one row apart: a sum of one row is the row"}
    assert revealed(run, "parameters") == {"made from one row alone"}
    assert set(run["fewest"][run["counted"]]) == {1}


def test_fewer_rows_than_columns_are_said_to_be_known_but_for_a_rotation():
    assert revealed(dry_run(estimator(), of_rows(3), "north"), "products of columns") == {
        "3 rows apart, of 4 columns: these rows but for a rotation"
    }
    assert revealed(dry_run(estimator(), of_rows(60), "north"), "products of columns") == {""}


def test_a_fold_of_one_row_and_a_label_of_one_row_are_said():
    folds = dry_run(estimator(tuning="mixture"), of_rows(9), "north")
    assert revealed(folds, "products by fold") == {"one row apart: a sum of one row is the row"}
    labels = dry_run(estimator(), of_rows(60, FRAME), "north")
    assert revealed(labels, "labels of categories") == {"a label that one row alone has"}
    assert "names of columns" in next(iter(revealed(labels, "names")))


@pytest.mark.parametrize(("early", "n_trained"), [(False, 60), (True, 54)])  # a tenth is held out
def test_what_several_networks_send_is_made_from_the_rows_of_all_and_from_none_twice(early, n_trained):
    run = dry_run(estimator(tuning="mixture", early_stopping=early), of_rows(60), "north", networks=9)
    trained = run["what"] == "parameters"
    assert {len(shape) for shape in run["shape"][trained]} == {2} and set(run["rows"][trained]) == {n_trained}
    assert run["rows"].max() == 60


def test_it_ends_where_the_policy_ends_it_and_costs_the_policy_nothing(tmp_path):
    policy = SitePolicy(rounds=2, state=tmp_path / "state.json")
    for _ in range(2):  # what has been counted once would be too much the second time
        run = dry_run(estimator(), of_rows(60), "north", policy)
        assert run["refused"][-1].startswith("more rounds are asked for than the 2")
        assert [why for why in run["refused"] if why] == [run["refused"][-1]] * 2  # parameters and loss terms
        assert set(run["round"]) == {0, 1, 2, 3} and run["bytes"][-1] == 0
        assert "The fit would end here: parameters is refused" in repr(run)
    assert not (tmp_path / "state.json").exists()


def test_rows_that_cannot_be_fitted_are_an_error():
    with pytest.raises(ValueError, match="NaN"):
        dry_run(estimator(), lambda: (np.where(X > 1, np.nan, X), Y), "north")


def test_printed_rounds_that_are_alike_are_one_line_and_bytes_add_up():
    run = dry_run(estimator(n_rounds=5), of_rows(60), "north")
    text = repr(run).splitlines()
    assert [line.split()[0] for line in text if " parameters " in line] == ["1-4", "5"]
    assert f"{len(run['what'])} messages" in text[-1]


def test_with_privacy_what_is_clipped_and_noisy_is_listed_and_nothing_else():
    private = estimator(
        preprocessing="standardize",
        dp_noise_multiplier=1.0,
        dp_clip_norm=0.1,
        dp_bounds={"X": (-4, 4), "y": (-4, 4)},
    )
    run = dry_run(private, of_rows(60), "north")
    assert set(run["what"][run["counted"]]) == {"clipped moments", "clipped updates"}
