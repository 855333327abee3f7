"""Rows, clients and rounds that lack a modality: what must not matter, what must, and what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import federate, gradients, in_float32, make_network, make_run, normal, random_weights, run_of, run_round
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from three_modalities import IDS, WIDTHS, N, X, Y, make
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy, normalize

from skfdrmfl import FDRMFLTransformer, losses
from skfdrmfl.common import randomness
from skfdrmfl.data.modalities import find_present
from skfdrmfl.encoders import CategoricalEncoder
from skfdrmfl.engines.dropout import draw_kept
from skfdrmfl.engines.rows import stack
from skfdrmfl.fit.check_input import present_in, with_codes
from skfdrmfl.fit.prepare import prepare
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.objective import Batch, local_objective, term_settings

ENGINES = ("torch", "loop")
KINDS = sorted(FUSIONS)


def exact(value, expected, rtol=1e-9, atol=1e-11):
    torch.testing.assert_close(value, expected, rtol=rtol, atol=atol)


def some(n, n_modalities, seed=0, share=0.6):
    """Which modalities each of n rows has, at least one."""
    rng = np.random.default_rng([seed, 5])
    present = rng.random((n, n_modalities)) < share
    present[np.arange(n), rng.integers(n_modalities, size=n)] = True
    return present


def blank(network, run, present, filling=0.0):
    """The run whose rows lack modalities, with `filling` in their places."""
    x = run.x.clone()
    for m, columns in enumerate(network.columns.values()):
        x[torch.as_tensor(~present[:, m]), columns] = filling
    return replace(run, x=x, present=present)


# ------------------------------------------------------------------------------------ which rows lack what


def test_a_row_whose_columns_are_all_nan_lacks_the_modality():
    table = np.arange(20.0).reshape(4, 5)
    modalities = {"a": np.array([0, 3]), "b": np.array([1, 2, 4])}
    assert find_present(table, modalities) is None
    table[1, [0, 3]] = np.nan
    table[2, [1, 2, 4]] = np.nan
    assert_array_equal(find_present(table, modalities), [[1, 1], [0, 1], [1, 0], [1, 1]])


def test_values_whose_sum_overflows_are_not_missing():
    table = np.full((3, 2), np.finfo(np.float64).max)
    assert find_present(table, {"a": np.array([0]), "b": np.array([1])}) is None


# ---------------------------------------------------------------------------------------------- alignment


@settings(max_examples=settings().max_examples // 2)
@given(n=st.integers(1, 4), seed=st.integers(0, 9))
def test_alignment_is_the_mean_of_symmetric_kl_over_the_pairs_a_row_has(n, seed):
    codes = normal(seed, 2, 4, n, 3)
    mask = torch.as_tensor(np.random.default_rng([seed, n]).random((2, 4, n)) < 0.6)
    expected = torch.zeros(2, 4, dtype=codes.dtype)
    for c in range(2):
        for b in range(4):
            there = [codes[c, b, m] for m in range(n) if mask[c, b, m]]
            pairs = [losses.symmetric_kl(u, v) for i, u in enumerate(there) for v in there[:i]]
            expected[c, b] = sum(pairs) / len(pairs) if pairs else 0.0
    exact(losses.modality_alignment(codes, mask), expected)
    poisoned = torch.where(mask.unsqueeze(-1), codes, torch.nan)
    if n > 1:
        exact(losses.modality_alignment(poisoned, mask), expected)
        assert gradients(lambda mu: losses.modality_alignment(mu, mask), poisoned)[0].isfinite().all()


def test_alignment_under_a_mask_of_all_is_that_without():
    codes = normal(0, 2, 5, 3, 4)
    everything = torch.ones(2, 5, 3, dtype=torch.bool)
    exact(losses.modality_alignment(codes, everything), losses.modality_alignment(codes))


# ------------------------------------------------------------------------------------- network and objective


def test_a_row_that_lacks_a_modality_is_seen_as_by_the_network_without_it():
    network = make_network((3, 2, 4), fusion="mean")
    without = make_network((3, 4), fusion="mean", names="ac")
    weights = random_weights(network, 1)
    views = network.layout.views(weights)
    x = normal(1, 1, 5, 9)
    mask = torch.tensor([True, False, True]).expand(1, 5, 3)
    act = network.forward(views, x, mask)
    expected = without.forward({name: views[name] for name in without.layout.shapes}, x[..., [0, 1, 2, 5, 6, 7, 8]])
    exact(act.z, expected.z)
    exact(act.y_hat, expected.y_hat)
    assert (network.forward(views, x).z - expected.z).abs().min() > 1e-3


@pytest.mark.parametrize("fusion", KINDS)
def test_the_masked_gradient_is_the_central_differences_of_the_masked_objective(fusion):
    network = make_network((3, 2, 2), fusion=fusion)
    y = normal(1, 2, 6, 1)
    references = losses.unit(normal(2, 2, 6, 3, 2))
    share = torch.full((2, 6), 1 / 6, dtype=y.dtype)
    mask = torch.as_tensor(some(12, 3).reshape(2, 6, 3))
    batch = Batch(normal(0, 2, 6, 7), torch.cat((y, y.roll(-1, 1)), 1), references, share, share, mask)
    lambdas = dict.fromkeys(term_settings(), torch.tensor([0.3, 0.7], dtype=y.dtype))
    flat = random_weights(network, 2)

    def loss(w):
        return local_objective(network, network.layout.views(w), batch, lambdas)["loss"]

    assert gradcheck(loss, flat.requires_grad_(), fast_mode=True)


# ------------------------------------------------------------------------------------------------- dropout


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("n_present", [1, 2, 3])
def test_each_modality_is_dropped_with_the_probability_that_the_docstring_says(probability, n_present):
    n = 40_000
    present = np.zeros((n, 4), dtype=bool)
    present[:, 1 : 1 + n_present] = True
    keys = randomness.client_keys(np.full(n, 3, np.uint64), 2, np.full(n, 1, np.uint64))
    kept = draw_kept(keys, np.arange(n) // 500, np.arange(n) % 500, np.full(n, probability), present)
    assert kept.any(1).all(), "the last modality was dropped"
    assert not kept[~present].any(), "a modality was made up"
    expected = probability - probability**n_present / n_present
    dropped = 1.0 - kept[:, 1 : 1 + n_present].mean(0)
    assert_allclose(dropped, expected, atol=4.5 * np.sqrt(0.25 / n))
    if probability == 0.0:
        assert_array_equal(kept, present)
    if n_present == 3 and probability:
        # Two of three are dropped together as often as independence says: all three, and one kept, included.
        both = (~kept[:, 1] & ~kept[:, 2]).mean()
        p = probability
        assert_allclose(both, p**2 * (1 - p) + p**3 / 3, atol=4.5 * np.sqrt(0.25 / n))


def test_what_is_dropped_differs_between_clients_rounds_and_epochs_and_depends_on_nothing_else():
    rows, present, p = np.arange(200), np.ones((200, 3), bool), np.full(200, 0.5)

    def drawn(round_index, position, epoch, keep=slice(None)):
        keys = randomness.client_keys(np.full(200, 7, np.uint64), round_index, np.full(200, position, np.uint64))
        return draw_kept(keys[keep], np.full(200, epoch)[keep], rows[keep], p[keep], present[keep])

    draws = [drawn(0, 0, 0), drawn(1, 0, 0), drawn(0, 1, 0), drawn(0, 0, 1)]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert 0.3 < (a == b).mean() < 0.7
    assert_array_equal(drawn(0, 0, 0, slice(50, 90)), draws[0][50:90])


def test_anchors_are_dropped_and_references_are_not():
    network = make_network((3, 2, 2))
    run = make_run(network, [6], n_history=1, modality_dropout=0.6)
    cohort = stack([run]).cohort
    rows = run.partition.rows[0]
    key = cohort.keys(np.zeros(1, int), 4)
    kept = draw_kept(key.repeat(6), np.zeros(6, int), np.arange(6), np.full(6, 0.6), np.ones((6, 3), bool))
    assert 0 < (~kept).sum() < 12
    x = run.x[rows][None]
    anchor = network.forward(network.layout.views(run.start.weights[None]), x, torch.as_tensor(kept)[None]).z[0]
    references = [
        network.forward(network.layout.views(model[None]), x).z[0]
        for model in (run.start.weights, run.start.history[0])
    ]
    cosines = torch.stack([(normalize(anchor) * normalize(r)).sum(1) for r in references], 1)
    expected = cross_entropy(cosines / run.settings.terms["temperature"], torch.zeros(6, dtype=torch.long))
    _, found = run_round("torch", network, [run], batch_size=6, n_epochs=1, round_index=4)
    exact(found["contrastive"][0], expected)


# ------------------------------------------------------------------------------------------------- engines


@settings(max_examples=settings().max_examples // 4)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 5),
    share=st.sampled_from([0.0, 0.4, 0.8]),
    dropout=st.sampled_from([0.0, 0.3, 0.8]),
    fusion=st.sampled_from(KINDS),
)
def test_the_torch_engine_is_the_loop(sizes, seed, share, dropout, fusion):
    network = make_network((3, 2, 2), fusion=fusion)
    run = make_run(network, sizes, seed=seed, n_history=1, modality_dropout=dropout)
    run = blank(network, run, some(len(run.x), 3, seed, share))
    ours, theirs = (federate(engine, network, [run], (1.0, 0.5)) for engine in ENGINES)
    exact(ours[-1].state.weights, theirs[-1].state.weights, rtol=1e-8, atol=1e-10)
    for a, b in zip(ours, theirs, strict=True):
        assert_allclose(a.losses[:, :-1], b.losses[:, :-1], rtol=1e-8, atol=1e-10)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("fusion", KINDS)
def test_a_mask_of_all_is_no_mask(fusion):
    network = make_network((3, 2, 2), fusion=fusion)
    run = make_run(network, [7, 3, 5], n_history=1)
    masked = replace(run, present=np.ones((15, 3), dtype=bool))
    plain, other = (federate("torch", network, [r], (1.0, 0.5))[-1] for r in (run, masked))
    exact(other.state.weights, plain.state.weights, rtol=1e-12, atol=1e-13)
    assert_allclose(other.losses, plain.losses, rtol=1e-9)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("fusion", "dropout"), [*zip(KINDS, [0.0, 0.5] * 2, strict=True)])
def test_what_stands_in_a_missing_block_changes_nothing(fusion, dropout):
    network = make_network((3, 2, 2), fusion=fusion)
    run = make_run(network, [7, 3, 5], n_history=1, modality_dropout=dropout)
    present = some(15, 3)
    results = [
        federate("torch", network, [blank(network, run, present, filling)], (1.0, 0.5))[-1].state.weights
        for filling in (0.0, 1e3)
    ]
    exact(results[1], results[0])
    full = federate("torch", network, [run], (1.0, 0.5))[-1].state.weights
    assert (full - results[0]).abs().max() > 1e-4


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_who_is_stacked_beside_changes_no_bit(dropout):
    network = make_network((4, 2, 2), c=2, d=4)

    def run(seed, sizes):
        made = make_run(network, sizes, seed=seed, n_history=1, modality_dropout=dropout)
        made = blank(network, made, some(len(made.x), 3, seed))
        return in_float32(made)

    one, others = run(0, [20, 9, 4]), [run(1, [31, 2]), run(2, [5, 5, 5, 17])]
    alone = federate("torch", network, [one], (1.0, 0.5), batch_size=8)[-1]
    beside = federate("torch", network, [others[0], one, others[1]], (1.0, 0.5), batch_size=8)[-1]
    assert torch.equal(beside.state.weights[1], alone.state.weights[0])
    assert_array_equal(beside.losses[2:5], alone.losses)


def test_a_run_that_lacks_nothing_is_unmoved_by_one_that_does():
    network = make_network((3, 2, 2))
    one, other = make_run(network, [7, 3], n_history=1), make_run(network, [4, 5], seed=1, n_history=1)
    other = blank(network, other, some(9, 3))
    alone = federate("torch", network, [one], (1.0, 0.5))[-1].state.weights[0]
    beside = federate("torch", network, [one, other], (1.0, 0.5))[-1].state.weights[0]
    exact(beside, alone, rtol=1e-12, atol=1e-13)


# -------------------------------------------------------------------------------------------------- server


def test_an_encoder_is_averaged_by_the_rows_that_have_its_modality_and_all_else_by_rows():
    network = make_network((3, 2, 2))
    run = make_run(network, [6, 4, 5])
    present = some(15, 3)
    for m, clients in enumerate([(0, 1), (2,), (0, 1, 2)]):  # who has anything of it
        for k in set(range(3)) - set(clients):
            present[run.partition.rows[k], m] = False
    present[~present.any(1), 2] = True
    run = blank(network, run, present)
    (record,) = federate("torch", network, [run], (1.0,))
    returned, _ = run_round("torch", network, [run])
    counts = np.array([[len(rows), *present[rows].sum(0)] for rows in run.partition.rows], dtype=float)
    assert (counts == 0).sum() == 3
    found, sent = (network.layout.views(flat) for flat in (record.state.weights[0], returned))
    for name in network.layout.shapes:
        column = 1 + "abc".index(name[0]) if name[1] == "." else 0
        shares = counts[:, column] / counts[:, column].sum()
        exact(found[name], torch.tensordot(torch.as_tensor(shares), sent[name], 1))


def test_a_client_without_a_modality_has_no_influence_on_its_encoder():
    network = make_network((3, 2))
    run = make_run(network, [6, 5])
    present = np.ones((11, 2), dtype=bool)
    present[run.partition.rows[1], 0] = False
    run = blank(network, run, present)
    changed = replace(run, x=run.x.clone(), y=run.y.clone())
    rows = torch.as_tensor(run.partition.rows[1])
    changed.x[rows, 3:] = normal(8, 5, 2)
    changed.y[rows] = normal(9, 5, 1)
    before, after = (
        network.layout.views(federate("torch", network, [r], (1.0,))[0].state.weights[0]) for r in (run, changed)
    )
    for name in network.layout.shapes:
        if name.startswith("a."):
            assert torch.equal(after[name], before[name]), name
        else:
            assert not torch.equal(after[name], before[name]), name


def test_drift_does_not_count_the_encoder_of_a_modality_that_a_client_lacks():
    network = make_network((3, 2))
    run = make_run(network, [6, 5], weight_decay=5.0)
    present = np.ones((11, 2), dtype=bool)
    present[run.partition.rows[1], 0] = False
    run = blank(network, run, present)
    (record,) = federate("torch", network, [run], (1.0,))
    returned, _ = run_round("torch", network, [run])
    moved = returned - run.start.weights
    assert all(view.abs().max() > 0 for view in network.layout.views(moved[1]).values()), "nothing decayed"
    for name, view in network.layout.views(moved[1]).items():
        if name.startswith("a."):
            view.zero_()
    step = (record.state.weights[0] - run.start.weights).square().sum()
    assert_allclose(record.losses[:, -1], moved.square().sum(1) / step - 1, atol=1e-6)


def test_a_modality_that_no_participant_has_keeps_its_encoder():
    network = make_network((3, 2))
    run = make_run(network, [6, 5])
    present = np.ones((11, 2), dtype=bool)
    present[:, 1] = False
    (record,) = federate("torch", network, [blank(network, run, present)], (1.0,))
    before, after = (network.layout.views(flat) for flat in (run.start.weights, record.state.weights[0]))
    for name in network.layout.shapes:
        assert torch.equal(after[name], before[name]) == name.startswith("b."), name


# ----------------------------------------------------------------------------------------------- estimator


def test_a_modality_that_only_rows_held_out_have_is_refused_with_the_remedy():
    mine = np.r_[:2, 30:35]  # of the two rows of client a one is held out, whichever it is
    rare, refused = np.where(np.arange(9) < WIDTHS["wet"].start, X, np.nan)[mine], []
    for row in range(2):
        table = rare.copy()
        table[row] = X[row]
        try:
            make(n_rounds=1, early_stopping=True).fit(table, Y[mine], client_ids=IDS[mine])
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) == 1
    assert "1 of 7 rows have modality 'wet', and early_stopping holds out all of these" in refused[0]


_rng = np.random.default_rng(1)
HOLES = X.copy()
for _m, _columns in enumerate(WIDTHS.values()):
    HOLES[~some(N, 3, share=0.7)[:, _m], _columns] = np.nan
HOLES[45:, WIDTHS["nir"]] = np.nan  # client c has no nir at all
HOLES[45:, WIDTHS["wet"]] = X[45:, WIDTHS["wet"]]


def test_a_fit_with_holes_is_finite_counts_all_rows_and_learns():
    model = make(n_rounds=20, modality_dropout=0.2).fit(HOLES, Y, client_ids=IDS)
    assert model.n_samples_per_client_.tolist() == [25, 20, 15]
    Z = model.transform(HOLES)
    assert Z.shape == (N, 2) and np.isfinite(Z).all()
    assert_allclose(Z.mean(0), 0, atol=1e-6)  # training rows are float32
    assert_allclose(Z.var(0), model.component_variance_, rtol=1e-5)
    assert model.score(HOLES, Y) > 0.6
    assert all(np.isfinite(values).all() for values in model.history_.values())


@pytest.mark.parametrize("fusion", KINDS)
def test_a_row_is_predicted_alike_whoever_stands_beside_it(fusion):
    model = make(fusion=fusion, modality_dropout=0.3).fit(HOLES, Y, client_ids=IDS)
    together = model.transform(HOLES)
    alone = np.concatenate([model.transform(row[None]) for row in HOLES])
    assert_allclose(alone, together, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["whiten", "standardize", None])
def test_preprocessing_is_that_of_the_rows_that_have_the_modality(kind):
    model = make(preprocessing=kind).fit(HOLES, Y, client_ids=IDS)
    for name, columns in WIDTHS.items():
        there = ~np.isnan(HOLES[:, columns]).any(1)
        assert 0 < there.sum() < N
        alone = make(modalities=None, preprocessing=kind).fit(HOLES[there, columns], Y[there], client_ids=IDS[there])
        ours, theirs = model._fitted.table.blocks[name], alone._fitted.table.blocks["x"]
        assert_allclose(ours.mean, theirs.mean, atol=1e-14)
        assert_allclose(ours.apply(X[:, columns]), theirs.apply(X[:, columns]))
        assert_allclose(ours.power, theirs.power)


def test_a_complete_table_has_no_masks_and_no_counts_by_modality():
    plain = make().fit(X, Y, client_ids=IDS)
    run = run_of(prepare(plain, X, Y, IDS))
    assert run.present is None
    cohort = stack([run]).cohort
    assert cohort.dropout(np.arange(3)) is None
    assert cohort.counts.shape == (3,)


def test_dropout_changes_nothing_with_one_modality():
    plain, dropped = (make(modalities=None, modality_dropout=p).fit(X, Y, client_ids=IDS) for p in (0.0, 0.5))
    assert_array_equal(plain.transform(X), dropped.transform(X))


def test_dropout_makes_predictions_without_a_modality_better():
    errors = []
    blind = X.copy()
    blind[:, WIDTHS["nir"]] = np.nan
    for p in (0.0, 0.4):
        model = make(n_rounds=30, modality_dropout=p).fit(X, Y, client_ids=IDS)
        errors.append(np.mean((model.predict(blind) - Y) ** 2))
    assert errors[1] < 0.8 * errors[0]


def test_engines_agree_on_holes_and_dropout():
    stacked, loop = (make(engine=e, modality_dropout=0.3).fit(HOLES, Y, client_ids=IDS) for e in ("torch", "auto"))
    assert_allclose(loop.predict(HOLES), stacked.predict(HOLES), atol=2e-4)


def test_partial_fit_takes_clients_without_a_modality_and_rounds_without_it():
    model = make().partial_fit(HOLES[:45], Y[:45], client_ids=IDS[:45])
    encoder = {name: value for name, value in model.weights_.items() if name.startswith("encoder.nir.")}
    model.partial_fit(HOLES[45:], Y[45:], client_ids=IDS[45:])  # nobody here has nir
    assert model.n_samples_per_client_.tolist() == [25, 20, 15]
    assert encoder
    for name, value in encoder.items():
        assert_array_equal(model.weights_[name], value)
    assert np.isfinite(model.transform(HOLES)).all()


def test_warm_start_goes_on_with_other_holes():
    model = make(warm_start=True).fit(X, Y, client_ids=IDS)
    model.fit(HOLES, Y, client_ids=IDS)
    assert model.n_rounds_ == 8
    assert np.isfinite(model.predict(HOLES)).all()


def test_a_pickled_model_predicts_rows_with_holes_alike():
    model = make(modality_dropout=0.2).fit(HOLES, Y, client_ids=IDS)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(HOLES), model.predict(HOLES))


def test_frames_with_prefixes_lack_modalities_as_arrays_do():
    names = [f"{name}__{j}" for name, columns in WIDTHS.items() for j in range(columns.stop - columns.start)]
    frame = pd.DataFrame(HOLES, columns=names)
    by_name = make(modalities="prefix").fit(frame, Y, client_ids=IDS)
    assert_array_equal(by_name.transform(frame), make().fit(HOLES, Y, client_ids=IDS).transform(HOLES))
    single = make().fit(HOLES.astype(np.float32), Y, client_ids=IDS)
    assert single.transform(HOLES.astype(np.float32)).dtype == np.float32


def test_shrinkage_is_chosen_with_holes():
    model = make(shrinkage="auto", n_rounds=3).fit(HOLES, Y, client_ids=IDS)
    assert model.shrinkage_ in (1e-2, 1e-3, 2e-4, 1e-5)
    assert np.isfinite(model.predict(HOLES)).all()
    # Rows that only have what is not whitened, and a modality in so few rows that some fold trains without it.
    codes = np.column_stack((X[:, :2], _rng.integers(3, size=N).astype(float)))
    codes[2:, :2] = np.nan
    encoders = {"code": CategoricalEncoder(3)}
    rare = make(modalities={"nir": [0, 1], "code": [2]}, encoders=encoders, shrinkage="auto", n_rounds=2)
    rare.fit(codes, Y, client_ids=IDS)
    assert np.isfinite(rare.predict(codes)).all()


def test_categories_may_be_missing():
    table = np.column_stack((X[:, :3], _rng.integers(3, size=N).astype(float)))
    table[5:9, 3] = np.nan
    model = make(modalities={"nir": [0, 1, 2], "code": [3]}, encoders={"code": CategoricalEncoder(3)})
    assert np.isfinite(model.fit(table, Y, client_ids=IDS).predict(table)).all()


# ------------------------------------------------------------------------- modalities of labels and numbers

MIXED = pd.DataFrame(X, columns=[f"nir__{j}" for j in range(4)] + [f"lab__{j}" for j in range(5)])
MIXED["lab__site"] = np.array(["north", "south", "west"])[_rng.integers(3, size=N)]
MIXED["lab__ripe"] = (X[:, 5] > 0).astype(object)
LAB = [name for name in MIXED if name.startswith("lab__")]
LACKING = _rng.random(N) < 0.3


def with_nothing(frame, rows, columns=LAB):
    """The frame with NaN, and None for labels, in some rows of some columns."""
    frame = frame.copy()
    for name in columns:
        frame[name] = frame[name].where(~rows, None if name in ("lab__site", "lab__ripe") else np.nan)
    return frame


def in_library(frame, library):
    if library == "pandas":
        return frame
    pl = pytest.importorskip("polars")
    return pl.DataFrame({name: [None if v != v else v for v in frame[name].tolist()] for name in frame}).with_columns(
        pl.col(pl.Float64).fill_null(float("nan"))
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_row_without_numbers_and_labels_of_a_modality_lacks_it(library):
    frame = in_library(with_nothing(MIXED, LACKING), library)
    model = make(modalities="prefix", fusion="mean").fit(frame, Y, client_ids=IDS)
    run = run_of(prepare(model, frame, Y, IDS, earlier=model._fitted))
    assert_array_equal(run.present, np.column_stack((np.ones(N, bool), ~LACKING)))
    assert np.isfinite(model.transform(frame)).all()
    # With the mean, a row that lacks one is its other code: as in a model whose other encoder says something else.
    changed = pickle.loads(pickle.dumps(model))
    for name in changed.weights_:
        if name.startswith("encoder.lab"):
            changed.weights_[name] = changed.weights_[name] + 1.0
    same = np.isclose(changed.predict(frame), model.predict(frame)).ravel()
    assert_array_equal(same, LACKING)


@pytest.mark.filterwarnings("ignore:.* labels of 'lab__site' are unknown to the model")
def test_rows_that_lack_a_modality_first_at_transform_are_seen_as_lacking_it():
    model = make(modalities="prefix").fit(MIXED, Y, client_ids=IDS)  # no missing label has a code of its own
    holes = with_nothing(MIXED, LACKING)
    network_spec = model._fitted.network_spec
    table = with_codes(model, holes, network_spec.categories, reset=False).to_numpy(dtype=float)
    present = present_in(table, network_spec.modalities, network_spec.categories)
    assert_array_equal(present[:, 1], ~LACKING)
    # Labels nobody has seen are unknown, not missing.
    unseen = holes.assign(lab__site="?")
    with pytest.raises(ValueError, match=f"'lab' is partly NaN in {LACKING.sum()} rows .*in 6 of 7 columns"):
        model.predict(unseen)
    assert np.isfinite(model.predict(MIXED.assign(lab__site="?"))).all()


@pytest.mark.slow
def test_missing_labels_alone_are_still_a_category():
    labels = ["lab__site", "lab__ripe"]
    holes = with_nothing(MIXED, LACKING, labels)
    model = make(modalities="prefix").fit(holes, Y, client_ids=IDS)
    assert model.categories_["lab__site"].tolist() == ["north", "south", "west", None]
    assert run_of(prepare(model, holes, Y, IDS, earlier=model._fitted)).present is None
    # Nor does a modality of labels alone ever lack, beside one that does.
    apart = {"nir": list(range(4)), "num": list(range(4, 9)), "label": [9, 10]}
    both = with_nothing(MIXED, LACKING)
    model = make(modalities=apart).fit(both, Y, client_ids=IDS)
    present = run_of(prepare(model, both, Y, IDS, earlier=model._fitted)).present
    assert_array_equal(present, np.column_stack((np.ones(N, bool), ~LACKING, np.ones(N, bool))))


@pytest.mark.parametrize("kept", ["lab__0", "lab__site"])
def test_a_modality_of_which_something_is_there_is_partly_missing(kept):
    holes = with_nothing(MIXED, LACKING, [name for name in LAB if name != kept])
    with pytest.raises(ValueError, match=f"modality 'lab' is partly NaN in {LACKING.sum()} rows .*in 6 of 7 columns"):
        make(modalities="prefix").fit(holes, Y, client_ids=IDS)


# ------------------------------------------------------------------------------------------------- refused


def holes(*cells):
    table = X.copy()
    for rows, columns in cells:
        table[rows, columns] = np.nan
    return table


PARTLY = "modality 'mir' is partly NaN in 2 rows (first: row 3, in 1 of 3 columns); impute"
NONE = "every modality is missing in 1 row (first: row 7, where all of X is NaN); drop"


@pytest.mark.parametrize(
    ("table", "message"),
    [(holes(([3, 9], 5)), PARTLY), (holes((7, slice(None))), NONE)],
    ids=["partly", "nothing"],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "predict"])
def test_holes_that_say_nothing_clear_are_refused_before_anything_is_done(table, message, method):
    model = make().fit(X, Y, client_ids=IDS)
    before = model.transform(X)
    with pytest.raises(ValueError) as error:
        getattr(model, method)(table, *([Y, IDS] if "fit" in method else []))
    assert message in str(error.value)
    assert_array_equal(model.transform(X), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_modality_that_nobody_has_is_refused(method):
    with pytest.raises(ValueError, match="no row has modality 'mir': its columns are all NaN; drop"):
        getattr(make(), method)(holes((slice(None), WIDTHS["mir"])), Y, IDS)


@pytest.mark.parametrize("modalities", [None, {"x": slice(None)}, "prefix"])
def test_nan_is_refused_where_there_is_one_modality(modalities):
    table = pd.DataFrame(holes((4, slice(None))), columns=[f"nir__{j}" for j in range(9)])
    model = make(modalities=modalities)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(table, Y)
    model.fit(table.fillna(0.0), Y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.transform(table)


@pytest.mark.parametrize("modalities", [None, WIDTHS])
def test_infinity_is_always_refused(modalities):
    table = X.copy()
    table[4, WIDTHS["mir"]] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        make(modalities=modalities).fit(table, Y)
    with pytest.raises(ValueError, match="infinity"):
        make(modalities=modalities).fit(X, Y).predict(table)


def test_the_tag_says_when_nan_is_accepted():
    def accepts(modalities):
        return FDRMFLTransformer(modalities=modalities, tuning=None).__sklearn_tags__().input_tags.allow_nan

    assert accepts(WIDTHS) and accepts("prefix")
    assert not accepts(None) and not accepts({"x": slice(None)})


@pytest.mark.parametrize("value", [-0.1, 1.0, "a", None])
def test_a_dropout_that_is_no_probability_below_one_is_refused(value):
    with pytest.raises(ValueError, match="modality_dropout"):
        make(modality_dropout=value).fit(X, Y)
