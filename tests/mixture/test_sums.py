"""What encoders and linear members are fitted on follows from sums by fold, as from the very rows that a fold keeps."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import simulate
from mixture_data import COLUMNS, THREE, asked, federation_of, lacking, make, masks_of, rows
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge

from skfdrmfl.data.held_out import EVERYTHING
from skfdrmfl.data.transforms import BlockSpectrum, TableTransform
from skfdrmfl.fit.mixture import most_of_sums
from skfdrmfl.mixture.linear import PENALTIES, linear_members
from skfdrmfl.mixture.moments import Moments
from skfdrmfl.mixture.sums import PARTS_OF_VIEW
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.queries.whitening import fit_blocks, fit_series
from skfdrmfl.views import VIEWS

SHRINKAGE = 1e-3
X, Y = rows()


def viewed(x, view, name):
    return x if view == "raw" or name != "nir" else VIEWS[view].apply(x)


def up_to_sign(a, b, atol):
    """Assert that columns are equal but for the sign of each."""
    assert a.shape == b.shape
    assert_allclose(a * np.sign((a * b).sum(0)), b, atol=atol)


# ------------------------------------------------------------------------------------------ transformations


@pytest.mark.sampled()
@pytest.mark.parametrize("view", PARTS_OF_VIEW)
@pytest.mark.parametrize("kind", ["whiten", "standardize"])
@pytest.mark.parametrize("holed", [False, True])
def test_transformations_of_all_rows_are_those_that_the_rows_give(view, kind, holed):
    present = lacking() if holed else None
    federation = federation_of(X, Y, present=present)
    sums, _, _ = asked(federation, PARTS_OF_VIEW[view][0])
    kinds = dict.fromkeys(COLUMNS, kind)
    (found,) = sums.transforms(view, kinds, SHRINKAGE, [-1])
    blocks = {
        name: Block(mine, m, view=VIEWS[view] if view != "raw" and name == "nir" else None)
        for m, (name, mine) in enumerate(COLUMNS.items())
    }
    found_there = fit_blocks(federation, blocks, kinds)
    expected = {n: b.whitening(SHRINKAGE) if isinstance(b, BlockSpectrum) else b for n, b in found_there.items()}
    a, b = (t.apply(X, np.dtype(float), present=present) for t in (found, TableTransform(COLUMNS, expected)))
    up_to_sign(a, b, 1e-6)


@pytest.mark.sampled()
@pytest.mark.parametrize("view", PARTS_OF_VIEW)
@pytest.mark.parametrize(("n", "holed"), [(60, False), (60, True), (24, False)])
def test_a_folds_whitening_is_of_the_rows_that_it_keeps_alone(view, n, holed):
    """Its principal axes are by singular values of the rows, in the units of all rows; 19 of 26 columns among them."""
    x, y, codes = X[:n], Y[:n], np.arange(n) % 3
    present = lacking(n) if holed else None
    federation = federation_of(x, y, codes, present)
    sums, _, folds = asked(federation, PARTS_OF_VIEW[view][0])
    masks = masks_of(federation, folds, n)
    tables = sums.transforms(view, dict.fromkeys(COLUMNS, "whiten"), SHRINKAGE, range(6))
    for table, mask in zip(tables, masks, strict=True):
        for m, (name, block) in enumerate(table.blocks.items()):
            has = np.ones(n, dtype=bool) if present is None else present[:, m]
            v = viewed(x[:, COLUMNS[name]], view, name)
            kept = v[mask & has]
            scale = np.full(v.shape[1], v[has].std(0).max())
            if view.startswith("snv") and name == "nir":
                scale[:] = v[has, :-2].std(0).max()
                scale[-2:] = v[has, -2:].std(0) / np.sqrt(np.mean((v[has, :-2].std(0) / scale[0]) ** 2))
            centred = (kept - kept.mean(0)) / scale
            _, s, axes = np.linalg.svd(centred, full_matrices=False)
            variance = s**2 / len(kept)
            shrunk = variance + SHRINKAGE * variance[0]
            large = variance / shrunk > 1e-2  # smaller ones turn among each other by what rounding leaves
            expected = ((v - kept.mean(0)) / scale) @ axes[large].T / np.sqrt(shrunk[large])
            up_to_sign(block.apply(x[:, COLUMNS[name]])[:, : large.sum()], expected, 1e-6)


@pytest.mark.parametrize("view", PARTS_OF_VIEW)
def test_a_folds_standardisation_has_mean_zero_and_variance_one_over_the_rows_that_it_keeps(view):
    federation = federation_of(X, Y)
    sums, _, folds = asked(federation, PARTS_OF_VIEW[view][0])
    tables = sums.transforms(view, dict.fromkeys(COLUMNS, "standardize"), 0.0, range(6))
    for table, mask in zip(tables, masks_of(federation, folds, 60), strict=True):
        z = table.apply(X, np.dtype(float))[mask]
        assert_allclose(z.mean(0), 0.0, atol=1e-7)
        assert_allclose(z.std(0), 1.0, atol=1e-7)


@pytest.mark.parametrize("holed", [False, True])
def test_a_modality_that_stands_on_all_of_its_axes_is_whitened_and_fitted_as_its_columns_are(monkeypatch, holed):
    """The principal axes of what has been turned are the same, and so is a ridge whose columns have one unit."""
    x = X + 1e-3 * np.random.default_rng(1).standard_normal(
        X.shape
    )  # the longest axis is a thousand times the shortest
    federation = federation_of(x, Y, present=lacking() if holed else None)
    narrow, _, _ = asked(federation, smooth=())
    for module in ("mixture.sums", "protocol.queries.whitening"):
        monkeypatch.setattr(f"skfdrmfl.{module}.MAX_EXACT_COLUMNS", 20)
    monkeypatch.setattr("skfdrmfl.protocol.queries.whitening.RANGE_DIMENSIONS", 24)
    turned, _, _ = asked(federation, smooth=())
    assert turned.table.blocks["nir"].projection is not None
    both = narrow, turned
    tables = (of.transforms("raw", dict.fromkeys(COLUMNS, "whiten"), SHRINKAGE, range(6)) for of in both)
    for a, b in zip(*tables, strict=True):
        up_to_sign(a.apply(x, np.dtype(float)), b.apply(x, np.dtype(float)), 1e-6)
    predictions = []
    for of in both:
        (ridge,) = (m for m in linear_members({None: of}, ["raw"]) if m.name == "ridge raw")
        predictions.append(of.table.apply(x, np.dtype(float)) @ ridge.coefficients + ridge.intercept[:, None])
    assert_allclose(*predictions, atol=1e-6)


def test_columns_that_are_to_stay_stay_and_constant_ones_say_nothing():
    x = X.copy()
    x[:, [3, 25]] = 7.0
    sums, _, _ = asked(federation_of(x, Y))
    none, standardised = (sums.transforms("raw", dict.fromkeys(COLUMNS, k), 0.0, [0])[0] for k in (None, "standardize"))
    assert_array_equal(none.apply(x, np.dtype(float)), x)
    assert (standardised.apply(x, np.dtype(float))[:, [3, 25]] == 0).all()
    assert (sums.deviation(28) > 0).sum() == 26


def test_spreads_of_columns_are_those_over_rows_that_have_them():
    present = lacking()
    sums, _, _ = asked(federation_of(X, Y, present=present))
    has = present[:, np.repeat([0, 1], [24, 4])]
    assert_allclose(sums.deviation(28), [X[has[:, j], j].std() for j in range(28)], rtol=1e-10)


def test_spectra_are_smooth_and_tables_and_few_columns_are_not():
    present = lacking()
    federation = federation_of(X, Y, present=present)
    blocks = {name: Block(mine, m) for m, (name, mine) in enumerate(COLUMNS.items())}
    _, found = fit_series(federation, blocks, dict.fromkeys(COLUMNS, "standardize"), list(COLUMNS), EVERYTHING)
    for m, (name, mine) in enumerate(COLUMNS.items()):
        correlations = np.corrcoef(X[np.ix_(present[:, m], mine)].T)
        assert_allclose(found[name], np.median(np.abs(np.diagonal(correlations, 1))), rtol=1e-9)
    assert found["nir"] > 0.9 > found["lab"]


@pytest.mark.sampled()
@pytest.mark.parametrize(("columns", "views"), [(20, 5), (19, 1)])
@pytest.mark.parametrize(("noise", "is_smooth"), [(0.0, True), (2.0, False)])
def test_views_are_there_where_there_are_20_columns_and_neighbours_correlate(columns, views, noise, is_smooth):
    x = X[:, :columns] + noise * np.random.default_rng(1).standard_normal((60, columns))
    model = make(n_rounds=1, suspects="ignore").fit(x, Y[:, 0], THREE)
    assert len({m["view"] for m in model.members_[1:]}) == (views if is_smooth else 1)
    sent = sum(m.bytes // m.clients for m in model.federation_log_ if m.round == 0 and m.direction == "up")
    most = most_of_sums(model, reading_of(columns))
    assert sent <= most and (most <= 1.05 * sent or not is_smooth)


def reading_of(columns):
    """What is known of a table of some columns and one output."""
    return SimpleNamespace(modalities={"x": np.arange(columns)}, categories={}, n_outputs=1)


@pytest.mark.parametrize("columns", [20, 19])
def test_views_are_among_what_is_sent_at_most_where_they_may_be_there(columns):
    with_views, without = (most_of_sums(make(pretreatment=how), reading_of(columns)) for how in ("auto", None))
    assert (with_views > without) == (columns == 20)


def test_columns_that_do_not_vary_and_few_are_no_series():
    for x in (np.ones((9, 3)), np.arange(9.0)[:, None]):
        blocks = {"x": Block(np.arange(x.shape[1]))}
        transforms, found = fit_series(simulate(x), blocks, {"x": "standardize"}, ["x"], EVERYTHING)
        assert found == {"x": 0.0}
        assert (transforms["x"].tail > 0) == (x.std() > 0)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("view", [None, "snv"])
def test_who_holds_which_row_does_not_matter_to_the_sums_of_all(view):
    """Which rows a fold holds out is drawn client by client; what all folds say together is not."""
    one, _, _ = asked(federation_of(X, Y, np.zeros(60, dtype=int)), view)
    for codes in (THREE, np.arange(60) % 10, np.arange(60), np.arange(60) // 2):
        several, _, _ = asked(federation_of(X, Y, codes), view)
        for of_one, of_several in ((one, several),):
            a, b = (of.axes @ of.total.xx @ of.axes.T for of in (of_one, of_several))
            assert_allclose(a, b, atol=1e-8)
            assert_allclose(of_one.axes @ of_one.total.xy, of_several.axes @ of_several.total.xy, atol=1e-8)
        assert_allclose(several.held_out.n.sum(), 60)


# -------------------------------------------------------------------------------------------- linear members


def pretreated(x, view, scaled):
    """Columns as a linear member sees them: scaled each by itself, or all by one spread but those that SNV appends."""
    parts = []
    for name, mine in COLUMNS.items():
        v = viewed(x[:, mine], view, name)
        units = v.std(0)
        n_own = len(units) - (2 if name == "nir" and view.startswith("snv") else 0)
        if not scaled:
            units[:n_own] = np.sqrt(np.mean(units[:n_own] ** 2))
        parts.append(v / units)
    return np.hstack(parts)


def penalised(z, mask, penalty):
    return penalty * mask.sum() * np.linalg.eigvalsh(np.cov(z[mask].T, bias=True))[-1]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("view", "codes"),
    [*((view, THREE) for view in PARTS_OF_VIEW), ("raw", np.zeros(60, dtype=int)), ("snv", np.arange(60) % 10)],
    ids=lambda value: value if isinstance(value, str) else str(len(set(value))),
)
def test_linear_members_are_scikit_learns_on_pretreated_rows_and_chosen_by_the_same_folds(view, codes):
    federation = federation_of(X, Y, codes)
    base = PARTS_OF_VIEW[view][0]
    sums, unit, folds = asked(federation, base)
    masks, t = masks_of(federation, folds, 60), unit.apply(Y)
    members = linear_members({base: sums}, [view])
    assert {m.name for m in members} <= {f"{kind} {view}{s}" for kind in ("ridge", "pls") for s in ("", " scaled")}
    table = sums.table.apply(X, np.dtype(float))
    for member in members:
        z = pretreated(X, view, member.name.endswith("scaled"))
        for q, value in enumerate(member.chosen):
            for i, mask in enumerate(masks):
                if member.name.startswith("pls"):
                    model = PLSRegression(int(value), scale=False).fit(z[mask], t[mask, q])
                else:
                    model = Ridge(penalised(z, mask, value), solver="svd").fit(z[mask], t[mask, q])
                found = table @ member.coefficients[i, :, q] + member.intercept[i, q]
                assert_allclose(found, model.predict(z).ravel(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["snv+sg1"])
def test_the_place_on_a_path_is_that_of_least_squared_error_over_the_folds(view):
    federation = federation_of(X, Y)
    base = PARTS_OF_VIEW[view][0]
    sums, unit, folds = asked(federation, base)
    masks, t = masks_of(federation, folds, 60)[:-1], unit.apply(Y)
    for member in linear_members({base: sums}, [view]):
        z = pretreated(X, view, member.name.endswith("scaled"))
        pls = member.name.startswith("pls")
        values = range(1, 15) if pls else PENALTIES[6:]  # smaller ones leave rounding alone
        squares = np.zeros((len(values), 2))
        for i, value in enumerate(values):
            for mask in masks:
                for q in range(2):
                    model = PLSRegression(value, scale=False) if pls else Ridge(penalised(z, mask, value), solver="svd")
                    error = t[~mask, q] - model.fit(z[mask], t[mask, q]).predict(z[~mask]).ravel()
                    squares[i, q] += error @ error
        assert_allclose(member.squares, squares.min(0), rtol=1e-5)
        assert_allclose(member.chosen, [values[i] for i in squares.argmin(0)])


def test_a_member_of_constant_outputs_is_their_mean():
    y = np.stack([Y[:, 0], np.full(60, 3.0)], 1)
    sums, unit, _ = asked(federation_of(X, y))
    for member in linear_members({None: sums}, ["raw"]):
        assert (member.coefficients[..., 1] == 0).all() and (member.intercept[:, 1] == 0).all()
    assert_allclose(unit.undo(np.zeros((1, 2)))[0, 1], 3.0)


def test_kept_moments_are_all_less_those_held_out():
    sums, unit, folds = asked(federation := federation_of(X, Y))
    z, t = sums.table.apply(X, np.dtype(float)) @ sums.axes, unit.apply(Y)
    for k, mask in enumerate(masks_of(federation, folds, 60)):
        for found, expected in zip(sums.kept._sums(), Moments.of_rows(z[mask], t[mask])._sums(), strict=True):
            assert_allclose(found[k], expected, atol=1e-8)
