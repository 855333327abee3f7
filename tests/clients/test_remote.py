"""Rows that are elsewhere: the same fit as in one memory, over a channel of bytes, and what can go wrong on it."""

import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from wire import Processes, Stopping, Wire, fit_over, rows_of, wire_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote import codec, site
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Packet, Request
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.engines import native
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.site.site_data import site_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)) @ RNG.standard_normal((3, 8)) + 0.3 * RNG.standard_normal((90, 8))
Y = X[:, 0] + np.tanh(X[:, 1]) + 0.1 * RNG.standard_normal(90)
THREE = np.array(["x", "b", "c"])[np.arange(90) % 3]
OF_LABEL = {"b": THREE == "b", "c": THREE == "c", "x": THREE == "x"}
UNEQUAL = np.repeat(np.arange(5), [14, 41, 1, 25, 9])[np.random.default_rng(1).permutation(90)]
TWO = {"modalities": {"a": slice(0, 5), "b": slice(5, None)}}
HOLES = np.where((THREE == "c")[:, None] & (np.arange(8) >= 5), np.nan, X)
FRAME = pd.DataFrame(
    {
        "n": X[:, 0],
        "kind": np.where((X[:, 2] > 0) & (THREE == "b"), "up", "down"),
        "m": X[:, 1],
        "flag": X[:, 3] > 0,
    }
)
# Nobody comes to the third round, "b" not to the first, and "x" no more after the second.
PATCHY = [[0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]]


def estimator(**parameters):
    return FDRMFLTransformer(**({"tuning": None} | {"n_rounds": 3, "local_epochs": 2, "random_state": 0} | parameters))


def here(parameters, table=X, y=Y, ids=THREE, groups=None):
    return estimator(**parameters).fit(table, y, client_ids=ids, groups=groups)


def there(parameters, table=X, y=Y, ids=THREE, groups=None, kind=Wire):
    wire = wire_of(estimator(**parameters), table, y, ids, groups, kind)
    return fit_over(wire, estimator(**parameters)), wire


# --------------------------------------------------------------------------------------------- the same fit


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("parameters", "table", "ids"),
    [
        pytest.param({"engine": "torch", "n_rounds": 2, "local_epochs": 1}, X, UNEQUAL, id="torch"),
        pytest.param({}, X, UNEQUAL, id="unequal sizes"),
        pytest.param(TWO | {"early_stopping": True, "fusion": "mean"}, HOLES, THREE, id="holes, early stopping"),
        pytest.param(
            {"early_stopping": True, "n_iter_no_change": 2, "n_rounds": 8},
            X,
            UNEQUAL,
            id="early stopping",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"algorithm": "fednova", "participation": 0.5, "n_rounds": 5}, X, UNEQUAL, id="fednova, participation"
        ),
        pytest.param({"algorithm": "fedsgd"}, X, UNEQUAL, id="fedsgd", marks=pytest.mark.slow),
        pytest.param({"algorithm": "fedadam", "history_size": 1}, X, THREE, id="fedadam"),
        pytest.param({"aggregation": "median"}, X, THREE, id="median"),
        pytest.param({"availability": PATCHY, "n_rounds": 5, "algorithm": "scaffold"}, X, THREE, id="patchy scaffold"),
        pytest.param({"availability": PATCHY, "n_rounds": 5, "min_clients": 2}, X, THREE, id="rounds without enough"),
        pytest.param({"availability": lambda t, client: t > 2 or client != "b"}, FRAME, THREE, id="a label to come"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* labels of 'kind' are unknown to the model")
def test_rows_elsewhere_give_the_bits_of_rows_here(parameters, table, ids):
    assert_alike(here(parameters, table, ids=ids), there(parameters, table, ids=ids)[0], table)


@pytest.mark.parametrize(
    ("parameters", "table"),
    [
        pytest.param(TWO | {"early_stopping": True, "algorithm": "scaffold"}, HOLES, id="scaffold, holes"),
        pytest.param({}, FRAME, id="categories", marks=pytest.mark.slow),
    ],
)
def test_sites_that_keep_nothing_but_packets_give_the_bits_of_sites_that_live_on(parameters, table):
    models, sent = [], []
    for kind in (Wire, Processes):
        model, wire = there(parameters, table, kind=kind)
        models.append(model._fitted.models.tobytes() + model.predict(table).tobytes())
        sent.append([(address, request.what, *n_bytes) for address, request, *n_bytes in wire.asked])
    assert models[0] == models[1] and sent[0] == sent[1]


def test_a_site_that_lives_on_loads_its_rows_once_a_fit_and_sees_those_of_the_next():
    n_loads, rows = [], {"X": X}
    model = estimator()

    def load(label):
        n_loads.append(label)
        return rows["X"][OF_LABEL[label]], Y[OF_LABEL[label]]

    wire = Wire({label: site_of(model, partial(load, label), label) for label in OF_LABEL})
    for rows["X"] in (X, X[:, ::-1].copy()):
        n_loads.clear()
        assert_alike(here({}, rows["X"]), fit_over(wire, model), rows["X"])
        assert sorted(n_loads) == sorted(OF_LABEL)


def assert_alike(a, b, table):
    assert a._fitted.models.tobytes() == b._fitted.models.tobytes()
    assert a._fitted.shrinkage == b._fitted.shrinkage
    assert (a.clients_ == b.clients_).all() and (a.n_samples_per_client_ == b.n_samples_per_client_).all()
    assert a.history_.keys() == b.history_.keys()
    for name, values in a.history_.items():  # losses are summed in company, which shows in the last bits of float32
        np.testing.assert_allclose(b.history_[name], values, rtol=2e-5, atol=2e-6, err_msg=name)
    np.testing.assert_allclose(b.predict(table), a.predict(table), rtol=0, atol=1e-6 * np.abs(Y).max())
    np.testing.assert_allclose(b.feature_importances_, a.feature_importances_, atol=1e-6)


@pytest.mark.skipif(native.library() is None, reason="nothing has been compiled of native.c")
def test_a_site_that_has_nothing_compiled_trains_in_torch(monkeypatch):
    asked = []

    def in_torch(engine, *_):
        asked.append(engine)
        return "torch"

    monkeypatch.setattr(site, "engine_for", in_torch)
    model, _ = there({})
    assert model.engine_ == "native" and set(asked) == {"auto"}
    assert_alike(here({"engine": "torch"}), model, X)


def test_who_is_not_there_in_a_round_is_asked_nothing():
    _, wire = there({"availability": PATCHY, "n_rounds": 5})
    trained = {(from_packet(r.about)["round"], r.position) for _, r, *_ in wire.asked if r.what == "train"}
    assert trained == {(t, p) for t, row in enumerate(PATCHY) for p, is_there in enumerate(row) if is_there}
    summed = [r.position for _, r, *_ in wire.asked if r.what == "sum"]
    n_before = [r.what for _, r, *_ in wire.asked].index("train") - 3  # but for the descriptions
    assert n_before == 6 and set(summed[:n_before]) == {1, 2} and set(summed[n_before:]) == {0, 1}


def test_nobody_there_in_the_first_round_is_an_error_elsewhere_too():
    with pytest.raises(ValueError, match="no client be there in round 1"):
        there({"availability": lambda t, client: t > 1}, FRAME)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("parameters", "table"),
    [
        pytest.param({"algorithm": "fedadam"}, X, id="fedadam"),
        pytest.param({"early_stopping": True}, X, id="early stopping"),
        pytest.param(TWO | {"algorithm": "scaffold"}, HOLES, id="a site without a modality"),
        pytest.param({}, FRAME.assign(kind=np.where(THREE == "c", "late", FRAME["kind"])), id="a label too late"),
        pytest.param({"availability": lambda t, client: t != 4 or client == "d"}, X, id="availability"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* labels of 'kind' are unknown to the model")
def test_a_fit_goes_on_elsewhere_with_whoever_is_there(parameters, table):
    parameters = parameters | {"warm_start": True}
    first, second = THREE != "c", THREE != "x"  # one has left since, one has come, and one is called otherwise
    ids = np.where((THREE == "b") & (np.arange(90) > 45), "d", THREE)

    def part(mine):
        return table[mine] if isinstance(table, np.ndarray) else table[mine].reset_index(drop=True)

    model = here(parameters, part(first), Y[first], THREE[first])
    over = fit_over(wire_of(model, part(first), Y[first], THREE[first]), estimator(**parameters))
    assert_alike(model, over, table)
    model.fit(part(second), Y[second], client_ids=ids[second])
    again = fit_over(wire_of(estimator(**parameters), part(second), Y[second], ids[second]), over)
    assert again is over and over.clients_.tolist() == ["b", "x", "c", "d"] and over.n_rounds_ == 6
    assert_alike(model, over, table)
    assert log_but_for_models(model) == log_but_for_models(over)


def test_what_does_not_go_on_from_a_model_is_refused_and_the_model_stays():
    model, _ = there({"warm_start": True}, FRAME)
    before = model._fitted.models.tobytes()
    for table, parameters, said in (
        (FRAME.rename(columns={"n": "k"}), {}, "others than those of the model to go on from"),
        (FRAME.assign(more=1.0), {}, "others than those of the model to go on from"),
        (FRAME, {"hidden_layer_sizes": (8,)}, "hidden_layer_sizes is"),
        (FRAME, {"dp_clip_norm": 1.0}, "was trained not private"),
    ):
        model.set_params(hidden_layer_sizes=(32,), dp_clip_norm=np.inf).set_params(**parameters)
        with pytest.raises(ValueError, match=said):
            fit_over(wire_of(model, table, Y, THREE), model)
        assert model._fitted.models.tobytes() == before
    model.set_params(dp_clip_norm=np.inf)
    with pytest.raises(ValueError, match="client_ids are numbers now"):
        fit_over(wire_of(model, FRAME, Y, np.arange(90) % 3), model)


def test_sites_are_held_to_one_axis_that_later_tables_are_held_to():
    wavelengths = np.arange(8) * 2.5 + 1100
    table = pd.DataFrame(X, columns=wavelengths)
    model, _ = there({"n_rounds": 1, "warm_start": True}, table)
    assert np.array_equal(model.axis_, wavelengths)
    with pytest.raises(ValueError, match="interpolate"):
        model.predict(table.set_axis(wavelengths + 1, axis=1))
    with pytest.raises(ValueError, match="others than those of the model to go on from"):
        fit_over(wire_of(model, table.set_axis(wavelengths + 1, axis=1), Y, THREE), model)

    def elsewhere(mine):
        return table[mine].set_axis(wavelengths + (1 if mine[2] else 0), axis=1).reset_index(drop=True)

    wire = Wire({c: site_of(estimator(), partial(lambda m: (elsewhere(m), Y[m]), m), c) for c, m in OF_LABEL.items()})
    with pytest.raises(ValueError, match="has other names of columns than client"):
        fit_over(wire, estimator())


def test_groups_stay_together_elsewhere_too():
    groups = np.arange(90) // 6
    parameters = {"early_stopping": True, "validation_fraction": 0.3}
    a, (b, _) = here(parameters, groups=groups), there(parameters, groups=groups)
    assert a._fitted.models.tobytes() == b._fitted.models.tobytes()
    assert a._fitted.models.tobytes() != here(parameters)._fitted.models.tobytes()


def test_a_model_fitted_elsewhere_is_saved_and_loaded(tmp_path):
    model, _ = there({})
    model.save(tmp_path / "model")
    again = FDRMFLTransformer.load(tmp_path / "model")
    assert np.array_equal(again.transform(X), model.transform(X))


MODELS = ("global models", "global models for rows held out")


def log_but_for_models(model):
    return [m for m in model.federation_log_ if m.what not in MODELS]


def test_the_ledger_counts_what_it_counts_here_but_for_models_that_clients_have():
    a, (b, _) = (
        here({"algorithm": "scaffold", "early_stopping": True}),
        there({"algorithm": "scaffold", "early_stopping": True}),
    )
    assert log_but_for_models(a) == log_but_for_models(b)
    n_bytes = 4 * b._fitted.network.layout.size
    # Each model goes to each client once: the first, and one for each round, for its rows held out.
    assert [m.bytes for m in b.federation_log_ if m.what in MODELS] == [3 * n_bytes] * (1 + b.n_rounds_)


# ------------------------------------------------------------------------------------------------ the wire


def test_a_round_costs_what_the_algorithm_declares_and_two_kilobytes():
    for algorithm, n_vectors in (("fedavg", 1), ("scaffold", 2)):
        model, wire = there({"algorithm": algorithm, "n_rounds": 5, "history_size": 3})
        n_bytes = 4 * model._fitted.network.layout.size * n_vectors
        rounds = [(sent, came) for _, request, sent, came in wire.asked if request.what == "train"]
        assert len(rounds) == 15
        for sent, came in rounds[3:]:  # the first brings the plan
            assert n_bytes < sent < 1.05 * n_bytes + 2000
            assert n_bytes < came < 1.05 * n_bytes + 2000


def test_history_goes_only_to_who_has_missed_it():
    class Patchy(Wire):
        """The second client misses the third round."""

        def answer(self, address, packet):
            request = Request.of_packet(packet)
            if request.what == "train" and from_packet(request.about)["round"] == 2 and request.position == 1:
                return None
            return super().answer(address, packet)

    model, wire = there({"n_rounds": 5, "history_size": 3}, kind=Patchy)
    given = {
        (from_packet(request.about)["round"], request.position): sum(
            len(from_packet(value).shape) == 2 for value in request.given.values() if len(value.arrays) == 1
        )
        for _, request, _, _ in wire.asked
        if request.what == "train"
    }
    assert [given[t, 0] for t in range(5)] == [1] * 5
    assert [given.get((t, 1)) for t in range(5)] == [1, 1, None, 2, 1]
    assert (
        np.isnan(model.history_["loss_per_client"][2, 1]) and not np.isnan(model.history_["loss_per_client"][3:]).any()
    )
    assert model.dropped_clients_ == [{"client": "c", "reason": "no answer", "rounds": [3]}]


@pytest.mark.parametrize("contrastive_weight", [1e-3, 0.0])
def test_clients_keep_the_model_and_of_earlier_ones_those_that_they_contrast(contrastive_weight):
    parameters = {"history_size": 2, "n_rounds": 5, "early_stopping": True, "contrastive_weight": contrastive_weight}
    _, wire = there(parameters)
    asked = [r for _, r, *_ in wire.asked if r.what in ("train", "held out")]
    n_kept = [
        len(set(r.keep) - set(r.needs[:3])) for r in asked[::3]
    ]  # but for what was agreed on, the plan and what it reads
    # The first model is asked for its errors, then each is trained from, and what comes of it asked for its errors.
    assert n_kept == ([1, 1, 2, 2, *[3] * 7] if contrastive_weight else [1] * 11)


def test_no_row_is_in_what_goes_down_and_no_model_in_what_clients_prepare_from():
    model, wire = there({"algorithm": "scaffold"})
    rows = {X[i].tobytes() for i in range(90)} | {X[i].astype(np.float32).tobytes() for i in range(90)}
    for _, request, _, _ in wire.asked:
        for packet in (request.about, *request.given.values()):
            assert not any(row in array.tobytes() for array in packet.arrays for row in rows)
    plan = next(r.given[r.needs[1]] for _, r, *_ in wire.asked if r.what == "train")
    assert '"RunPlan"' in plan.text
    assert model._fitted.network.layout.size not in [array.size for array in plan.arrays]


def test_values_come_back_as_they_were():
    shared = np.arange(6.0).reshape(2, 3)
    value = {
        "list": [1, -(2**70), 1.5, float("inf"), "é", None, True],
        "tuple": ((), (1, (2,))),
        3: frozenset({"a", None, 2}),
        "scalar": np.float32(0.1),
        "twice": [shared, shared],
        "turned": np.asfortranarray(shared),
        "dtype": np.dtype(np.float32),
        "objects": np.array(["a", None], dtype=object),
    }
    text, data = to_packet(value).flat()
    back = from_packet(Packet.of_flat(text, data))
    assert back.keys() == value.keys()
    assert back["list"] == value["list"] and back["tuple"] == value["tuple"] and back[3] == value[3]
    assert back["scalar"] == value["scalar"] and back["scalar"].dtype == np.float32
    assert back["twice"][0] is back["twice"][1] and np.array_equal(back["twice"][0], shared)
    assert back["turned"].flags.f_contiguous and np.array_equal(back["turned"], shared)
    assert back["dtype"] is value["dtype"]
    assert back["objects"].tolist() == ["a", None]
    back["twice"][0][0, 0] = 7.0  # what has come can be written to


def test_every_sum_can_cross():
    import pkgutil

    from skfdrmfl.protocol import queries as sums

    carried = {module.__name__ for module in codec.MODULES}
    assert {f"{sums.__name__}.{module.name}" for module in pkgutil.iter_modules(sums.__path__)} <= carried


def test_what_is_not_agreed_cannot_cross():
    class Other:
        pass

    with pytest.raises(TypeError, match="Other, which cannot be sent"):
        to_packet([Other()])
    with pytest.raises(TypeError, match="array of datetime64"):
        to_packet(np.array(["2026-01-01"], dtype="M8[D]"))


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '{"object": "os.system", "fields": {"command": "true"}}',
        '{"object": "Roster", "fields": {"nobody": 1}}',
        '{"object": "Roster", "fields": [1]}',
        '{"array": 3}',
        '{"array": 0}',
        '{"everything": null, "dict": {}}',
        '{"again": "name"}',
        '{"network": [["x", 3]]}',
        '{"again": 4}',
        '{"objects": [{"again": 0}], "shape": [1]}',
        '{"what": 1}',
        "[" * 100_000,
    ],
)
def test_what_is_damaged_or_unknown_is_refused_as_such(text):
    with pytest.raises(codec.WireError):
        from_packet(Packet(text))


@pytest.mark.parametrize(
    "text", ["no JSON", "3", '["sum", 0, [], [], ["lost"], [["1", 0]]]', '["sum", 0, [], [], [], []]']
)
def test_a_damaged_request_is_refused_as_such(text):
    with pytest.raises(codec.WireError):
        Request.of_packet(Packet(text))


def test_what_has_a_name_where_it_goes_is_sent_by_its_name():
    known = np.arange(3.0)
    packet = to_packet([known, (known,), np.arange(2.0)], {id(known): "earlier"})
    assert len(packet.arrays) == 1
    back = from_packet(packet, recall={"earlier": known}.__getitem__)
    assert back[0] is known and back[1][0] is known and back[2].tolist() == [0.0, 1.0]
    with pytest.raises(codec.WireError):
        from_packet(packet)


def test_a_client_gives_away_nothing_that_it_has_prepared_from_its_rows():
    _, wire = there({})
    (address, request, *_) = next(entry for entry in wire.asked if entry[1].what == "train")
    rows = request.needs[1] + site.ROWS
    assert rows in wire.kept[address]
    asked = Request("train", request.position, request.about, (*request.needs[:2], rows), {}, (rows, *request.keep))
    assert from_packet(wire.sites[address].answer(asked.packet(), wire.kept[address])[0]) == ("lost", [rows])


def test_bytes_that_do_not_fit_are_refused():
    text, data = to_packet(np.arange(3.0)).flat()
    for broken in (data[:-1], data + b"0"):
        with pytest.raises(codec.WireError):
            Packet.of_flat(text, broken)
    with pytest.raises(codec.WireError):
        Packet.of_flat(text.replace("<f8", "|O"), data)


# --------------------------------------------------------------------------------- what clients have prepared


@pytest.fixture
def transformed(monkeypatch):
    """How many rows are transformed, each time some are."""
    n_rows, apply = [], TableTransform.apply

    def counted(self, table, *arguments):
        n_rows.append(len(table))
        return apply(self, table, *arguments)

    monkeypatch.setattr(TableTransform, "apply", counted)
    return n_rows


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", [Wire, Processes])
def test_a_client_transforms_its_rows_once_for_all_rounds(transformed, kind):
    after = []

    class Counting(kind):
        def answer(self, address, packet):
            answer = super().answer(address, packet)
            if self.asked[-1][1].what in ("train", "held out"):
                after.append(len(transformed))
            return answer

    _, wire = there({"n_rounds": 4, "early_stopping": True}, kind=Counting)
    assert after == [1, 2, *[3] * 25]  # four rounds, and errors on rows held out before and after each
    assert not any(name.endswith(site.ROWS) for _, r, *_ in wire.asked for name in (*r.given, *r.keep))


def test_what_the_plan_reads_goes_to_a_client_once_and_its_rows_are_transformed_once(transformed):
    _, wire = there({})
    sent = [packet.text for _, request, *_ in wire.asked for packet in (request.about, *request.given.values())]
    assert sum(text.count('"Inputs"') for text in sent) == 3
    assert [n_rows for n_rows in transformed if n_rows == 30] == [30] * 3  # beside few rows, by which sums are tried


def test_what_was_prepared_for_an_earlier_plan_is_kept_no_longer():
    n_kept = []

    class Looking(Wire):
        def answer(self, address, packet):
            answer = super().answer(address, packet)
            n_kept.append(sum(name.endswith(site.ROWS) for name in self.kept[address]))
            return answer

    model, wire = there({"n_rounds": 1}, kind=Looking)
    fit_over(wire, model)
    n_plans = len({r.needs[1] for _, r, *_ in wire.asked if r.what == "train"})
    assert n_plans > 1 and max(n_kept) == 1


@pytest.mark.slow
def test_more_than_is_to_be_kept_is_prepared_for_each_message(transformed, monkeypatch):
    monkeypatch.setattr(site, "MOST_PREPARED", (4 * 8 + 8) * 30 - 1)  # of 8 whitened columns and y of 30 rows
    model, wire = there({"n_rounds": 4}, kind=Processes)
    n_rounds = len(transformed)
    assert model._fitted.models.tobytes() == here({"n_rounds": 4})._fitted.models.tobytes()
    assert not any(name.endswith(site.ROWS) for kept in wire.kept.values() for name in kept)
    monkeypatch.setattr(site, "MOST_PREPARED", (4 * 8 + 8) * 30)
    transformed.clear()
    there({"n_rounds": 4}, kind=Processes)
    assert n_rounds - len(transformed) == 3 * 3


@pytest.mark.parametrize("others", [X[::-1], X[:60]], ids=["content", "number"])
def test_rows_that_have_changed_since_they_were_announced_are_refused(others):
    class Changing(Wire):
        """From the third round on all have other rows."""

        def answer(self, address, packet):
            request = Request.of_packet(packet)
            if request.what == "train" and from_packet(request.about)["round"] == 2:
                label = self.sites[address].answer(Request("who", -1, to_packet(None)).packet(), {})[0]
                label = from_packet(label)[1]
                n = len(others)
                self.sites[address] = site_of(model, rows_of(others, Y[:n], OF_LABEL[label][:n]), label)
            return super().answer(address, packet)

    model = estimator(n_rounds=4)
    with pytest.raises(NoAnswer, match=r"'b': .* start the run again"):
        fit_over(wire_of(model, X, Y, THREE, kind=Changing), model)


def test_of_who_has_lost_what_it_announced_the_number_of_rows_is_known():
    class Changed(Wire):
        """One starts anew, with a row less."""

        def answer(self, address, packet):
            if Request.of_packet(packet).what == "train" and len(self.kept[address]) > 1:
                mine = np.flatnonzero(OF_LABEL["b"])[1:]
                self.sites[address], self.kept[address] = site_of(model, rows_of(X, Y, mine), "b"), {}
            return super().answer(address, packet)

    model = estimator()
    with pytest.raises(NoAnswer, match="30 rows were announced but there are 29 now"):
        fit_over(Changed({1: site_of(model, rows_of(X, Y, OF_LABEL["b"]), "b")}), model)


# ---------------------------------------------------------------------------------------- what can go wrong


class Forgetful(Wire):
    """Clients who now and then start anew."""

    def answer(self, address, packet):
        if len(self.asked) % 5 == 3:
            self.kept[address] = {}
        return super().answer(address, packet)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_a_client_that_has_lost_everything_is_told_again(algorithm):
    parameters = {"algorithm": algorithm, "n_rounds": 5, "early_stopping": True}
    model, wire = there(parameters, kind=Forgetful)
    assert model._fitted.models.tobytes() == here(parameters)._fitted.models.tobytes()
    assert sum(came < 200 for _, request, _, came in wire.asked if request.what == "train") > 1  # "lost"


def test_a_client_that_comes_back_under_another_address_goes_on():
    class Moving(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            if request.what == "train" and from_packet(request.about)["round"] == 1 and address == "node 1":
                self.sites["node 9"], self.kept["node 9"] = self.sites.pop(address), {}
                return None
            return super().answer(address, packet)

    model, wire = there({"n_rounds": 4}, kind=Moving)
    (left_out,) = model.dropped_clients_
    assert left_out["reason"] == "no answer" and left_out["rounds"] == [2]
    assert {address for address, request, *_ in wire.asked if request.what == "sum"} >= {"node 9"}
    assert np.isnan(model.history_["loss_per_client"]).sum() == 1


def test_who_has_moved_is_found_in_the_next_round_though_the_old_address_still_stands():
    class Moved(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            if request.what == "train" and from_packet(request.about)["round"] == 1 and address == "node 1":
                self.sites["node 9"], self.kept["node 9"] = self.sites["node 1"], {}
            return None if "node 9" in self.sites and address == "node 1" else super().answer(address, packet)

    model, _ = there({"n_rounds": 4}, kind=Moved)
    (left_out,) = model.dropped_clients_
    assert left_out["reason"] == "no answer" and left_out["rounds"] == [2]


def test_a_round_without_one_client_is_the_mean_of_the_others():
    class Without(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            silent = request.what == "train" and from_packet(request.about)["round"] == 1 and request.position == 0
            return None if silent else super().answer(address, packet)

    model, _ = there({}, kind=Without)
    available = np.ones((3, 3), dtype=bool)
    available[1, 0] = False
    oracle = here({"availability": available})
    np.testing.assert_allclose(model._fitted.models, oracle._fitted.models, atol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda sent: sent | {"weights": sent["weights"] * np.nan}, "update not finite"),
        (lambda sent: sent | {"weights": sent["weights"][:, 1:]}, "answer not as asked"),
        (lambda sent: sent | {"losses": sent["losses"].astype(float)}, "answer not as asked"),
        (lambda sent: {"weights": sent["weights"]}, "answer not as asked"),
        (lambda sent: [1, 2, 3], "answer not as asked"),
    ],
    ids=["nan", "shape", "type", "missing", "nonsense"],
)
def test_an_update_that_is_none_is_left_out_with_the_reason(spoil, reason):
    class Spoiled(Wire):
        def answer(self, address, packet):
            answer = super().answer(address, packet)
            request = self.asked[-1][1]
            if request.what == "train" and request.position == 1 and from_packet(request.about)["round"] == 1:
                kind, sent = from_packet(answer)
                return to_packet((kind, spoil(sent)))
            return answer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if reason == "update not finite" else "error")
        model, _ = there({}, kind=Spoiled)
    assert model.dropped_clients_ == [{"client": "c", "reason": reason, "rounds": [2]}]
    assert np.isfinite(model._fitted.models).all()


def test_sums_need_everybody_and_say_who_is_missing():
    class Silent(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            silent = request.what == "sum" and request.position == 1
            return None if silent else super().answer(address, packet)

    model = estimator()
    with pytest.raises(NoAnswer, match=r"1 of 3 clients did not answer \('c': no answer\)"):
        fit_over(wire_of(model, X, Y, THREE, kind=Silent), model)
    assert not hasattr(model, "weights_")


def test_a_sum_of_another_shape_stops_the_fit_and_names_the_client():
    class Stretched(Wire):
        def answer(self, address, packet):
            answer = super().answer(address, packet)
            request = self.asked[-1][1]
            if request.what == "sum" and request.position == 2:
                kind, sums = from_packet(answer)
                return to_packet((kind, [sums[0]._replace(total=sums[0].total[:1]), *sums[1:]]))
            return answer

    with pytest.raises(NoAnswer, match=r"'x': answer not as asked \(of another form"):
        there({}, kind=Stretched)


def test_who_leaves_after_training_does_not_lose_the_model():
    class Leaving(Wire):
        def answer(self, address, packet):
            n_rounds = sum(request.what == "train" for _, request, *_ in self.asked)
            gone = n_rounds == 9 and Request.of_packet(packet).position == 0
            return None if gone else super().answer(address, packet)

    model, _ = there({}, kind=Leaving)
    assert model._fitted.models.tobytes() == here({})._fitted.models.tobytes()
    assert model.dropped_clients_ == [{"client": "b", "reason": "no answer", "rounds": []}]
    left = THREE != "b"
    assert np.abs(model.transform(X[left]).mean(0)).max() < 1e-7


def test_errors_of_clients_tell_nothing_of_their_rows(caplog):
    def broken():
        raise ValueError("row 7 holds secret 123.456")

    model = estimator()
    sites = {1: site_of(model, rows_of(X, Y, THREE == "b"), "b"), 2: site_of(model, broken, "c")}
    with pytest.raises(NoAnswer, match="load_data raised ValueError") as raised:
        fit_over(Wire(sites), model)
    assert "secret" not in str(raised.value)
    assert "secret" in caplog.text  # where the rows are, it is said
    strings = X.astype(object)
    strings[1, 2] = "patient 123"
    sites[2] = site_of(model, rows_of(strings, Y, THREE == "b"), "c")
    with pytest.raises(NoAnswer, match="ValueError in 'describe'") as raised:
        fit_over(Wire(sites), model)
    assert "patient" not in str(raised.value) and str(raised.value).endswith(
        "mend what their logs say, then fit again."
    )


def test_clients_that_do_not_fit_together_are_named():
    model = estimator()

    def fit(**sites):
        wire = Wire({i: site_of(*site) for i, site in enumerate(sites.values())})
        return fit_over(wire, model)

    b, c = rows_of(X, Y, THREE == "b"), rows_of(X, Y, THREE == "c")
    with pytest.raises(ValueError, match="client 'c' has other columns than client 'b' \\(7 and 8\\)"):
        fit(b=(model, b, "b"), c=(model, rows_of(X[:, 1:], Y, THREE == "c"), "c"))
    with pytest.raises(ValueError, match="several clients are called 'b'"):
        fit(b=(model, b, "b"), c=(model, c, "b"))
    with pytest.raises(NoAnswer, match=re.escape("hidden_layer_sizes is (16) here but 'auto' at the server")):
        fit(b=(model, b, "b"), c=(estimator(hidden_layer_sizes=(16,)), c, "c"))
    with pytest.raises(ValueError, match="client 'c' has other names of columns"):
        frame = pd.DataFrame(X, columns=list("abcdefgh"))
        fit(
            b=(model, rows_of(frame, Y, THREE == "b"), "b"),
            c=(model, rows_of(frame[list("abcdefhg")], Y, THREE == "c"), "c"),
        )


def test_a_fit_that_was_stopped_goes_on_from_its_checkpoint(tmp_path):
    parameters = {"n_rounds": 5, "algorithm": "scaffold"}
    kept = {**parameters, "checkpoint_path": str(tmp_path / "checkpoint"), "checkpoint_every": 2}
    with pytest.raises(KeyboardInterrupt):
        there(kept, kind=Stopping)
    model, wire = there(kept)
    assert model._fitted.models.tobytes() == here(parameters)._fitted.models.tobytes()
    assert sorted({from_packet(r.about)["round"] for _, r, *_ in wire.asked if r.what == "train"}) == [3, 4]


PRIVATE = {
    "preprocessing": "standardize",
    "dp_noise_multiplier": 1.0,
    "dp_clip_norm": 0.1,
    "dp_bounds": {"X": (-5, 5), "y": (-5, 5)},
    "participation": 0.6,
}


def test_with_privacy_the_ledger_names_nobody_here_or_there():
    pytest.importorskip("dp_accounting")
    for model in (here(PRIVATE), there(PRIVATE)[0]):
        counted = model._fitted.ledger.to_dict()
        assert {direction: of.tolist() for direction, of in counted["by_client"].items()} == {"up": [], "down": []}
        assert {message.clients for message in model.federation_log_ if message.round == 0} == {3}
        assert {message.clients for message in model.federation_log_ if message.round > 0} == {2}  # round(.6 x 3)
        assert model.federation_log_.by_client() == []


@pytest.mark.slow
def test_privacy_costs_what_it_costs_here():
    pytest.importorskip("dp_accounting")
    parameters = PRIVATE | {"warm_start": True}
    ids = np.arange(90) % 30
    a, (b, _) = here(parameters, ids=ids), there(parameters, ids=ids)
    assert a.epsilon_ == b.epsilon_ and a.privacy_bill_ == b.privacy_bill_
    before = a.epsilon_
    a.fit(X, Y, client_ids=ids)
    fit_over(wire_of(b, X, Y, ids), b)
    assert a.epsilon_ == b.epsilon_ > before and a.privacy_bill_ == b.privacy_bill_
    assert not hasattr(b, "n_samples_per_client_") and b.clients_.tolist() == list(range(30))
