"""What members err, what the mixture predicts, how it responds and what its Z is: by plain loops over rows."""

import pickle
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from mixture_data import COLUMNS, THREE, lacking, make, rows
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.engines import native
from skfdrmfl.fit.mixture import MixtureFitting
from skfdrmfl.method.evaluate import evaluate
from skfdrmfl.mixture.members import MemberTable
from skfdrmfl.mixture.scores import _widest
from skfdrmfl.mixture.weights import mixture_weights
from skfdrmfl.protocol.queries.members import MemberErrors

MODALITIES = {name: slice(int(mine[0]), int(mine[-1]) + 1) for name, mine in COLUMNS.items()}
MIXED = {"n_rounds": 12, "local_epochs": 2, "modalities": MODALITIES}  # networks and linear members have weight


@lru_cache
def mixed(q=2, c=2, lacks=False):
    """Rows, outputs and a mixture of them that tests read, and leave as it is."""
    x, y = rows()
    x, y = holed(x) if lacks else x, y[:, 2 - q :]
    return x, y, make(n_components=c, **MIXED).fit(x, y, THREE)


def prepared(x, y, codes=THREE, **changes):
    """A fit that is trained, and where it stands."""
    fitting = make(**changes)._prepare_fit(x, y, codes)
    *_, stand = fitting.train()
    return fitting, stand


def holed(x):
    """Rows with NaN in the modalities that they lack."""
    x = x.copy()
    for m, mine in enumerate(COLUMNS.values()):
        x[np.ix_(~lacking()[:, m], mine)] = np.nan
    return x


# ----------------------------------------------------------------------------------------------------- errors


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("q", "codes", "equal"),
    [(1, THREE, False), (2, np.repeat(np.arange(14), [30, 18, *[1] * 12]), False), (2, THREE, True)],
    ids=["3", "of one row", "equal"],
)
def test_products_of_errors_are_those_of_every_member_on_every_row_held_out(q, codes, equal):
    x, y = rows(q=q)
    fitting, stand = prepared(x, y, codes, modalities=MODALITIES)
    task, federation = fitting.task, fitting.federation
    sent = []
    summed = type(federation).sum

    class Asked(type(federation)):
        def sum(self, *queries):
            sent.extend(queries)
            return summed(self, *queries)

    federation.__class__ = Asked
    order, (networks, found, _) = task.linear, task._errors(federation, stand)
    (query,) = [query for query in sent if isinstance(query, MemberErrors)]
    (answer,) = federation.sum(type(query)(**(vars(query) | {"equal_votes": equal})))
    t = task.unit.apply(y)
    votes, products = 0.0, np.zeros((q, len(order) + len(networks), len(order) + len(networks)))
    for client in federation.clients:
        own, n_own = np.zeros_like(products), 0
        for k, fold in enumerate(task.folds):
            for i in client.rows_of(fold):
                row, errors = x[[i]], []
                for member in order:
                    z = task.sums[member.base].table.apply(row, np.dtype(float))
                    errors.append((z @ member.coefficients[k] + member.intercept[k])[0] - t[i])
                linear = np.array(errors) + t[i]
                for (p, number), _ in networks.items():
                    one = task.passes[p]
                    runs = one.members[number]
                    run = one.of_member(number).start + k
                    inputs = one.runs[run].inputs
                    z = inputs.transform.apply(row, inputs.dtype, inputs.widths).astype(float)
                    _, y_hat = evaluate(one.network, one.network.arrays(stand.passes[p][run].models[0]), z)
                    if runs.recipe.learns_residual:
                        beside = order.index(task.linear[runs.beside])
                        errors.append(runs.scales[k] * y_hat[0] + linear[beside] - t[i])
                    else:
                        errors.append(y_hat[0] * runs.units[k].unit + runs.units[k].mean - t[i])
                e = np.array(errors)  # (M, q)
                own += np.einsum("mq,nq->qmn", e, e)
                n_own += 1
        if n_own:
            votes += 1 if equal else n_own
            products += own / n_own if equal else own
    assert answer.votes == votes
    assert_allclose(answer.products, products, rtol=1e-5, atol=1e-6 * products.max())
    if not equal:
        assert_allclose(found, products / votes, rtol=1e-5, atol=1e-6 * products.max())


def test_members_say_their_weights_and_errors_and_those_of_the_mixture():
    x, y, model = mixed()
    fitting, stand = prepared(x, y, **MIXED)
    order, (networks, errors, _) = fitting.task.linear, fitting.task._errors(fitting.federation, stand)
    mixture, *members = model.members_
    unit = y.std(0)
    names = [m.name for m in order] + [fitting.task.passes[p].members[i].recipe.name for p, i in networks]
    assert sorted(m["name"] for m in members) == sorted(names)
    for q in range(2):
        weights = mixture_weights(errors[q])
        for name, weight, square in zip(names, weights, np.diagonal(errors[q]), strict=True):
            (said,) = [m for m in members if m["name"] == name]
            assert_allclose(said["weight"][q], weight, atol=1e-9)
            assert_allclose(said["error"][q], np.sqrt(square) * unit[q], rtol=1e-9)
        assert_allclose(mixture["error"][q], np.sqrt(weights @ errors[q] @ weights) * unit[q], rtol=1e-9)


# ------------------------------------------------------------------------------------------------ predictions


@pytest.mark.parametrize(("q", "lacks"), [pytest.param(1, False, marks=pytest.mark.slow), (2, True)])
def test_predictions_are_the_weighted_sum_of_what_members_predict(q, lacks):
    x, y, model = mixed(q, lacks=lacks)
    fitting, stand = prepared(x, y, **MIXED)
    task = fitting.task
    order, (networks, errors, _) = task.linear, task._errors(fitting.federation, stand)
    weights = np.stack([mixture_weights(e) for e in errors], 1)
    assert (weights[: len(order)] > 0).any() and (weights[len(order) :] > 0).any()
    present = lacking() if lacks else None
    table = np.where(np.isnan(x), 0.0, x)
    linear = []
    for member in order:
        z = task.sums[member.base].table.apply(table, np.dtype(float), present=present)
        linear.append(z @ member.coefficients[-1] + member.intercept[-1])
    predicted = list(linear)
    for p, number in networks:
        one, runs = task.passes[p], task.passes[p].members[number]
        trained = stand.passes[p][one.of_member(number)][-1]
        z = runs.tables[-1].apply(table, np.dtype(float), one.runs[0].inputs.widths, present)  # padded, as it trained
        _, y_hat = evaluate(one.network, one.network.arrays(trained.models[0]), z, present)
        if runs.recipe.learns_residual:
            y_hat = runs.scales[-1] * y_hat + linear[order.index(task.linear[runs.beside])]
        predicted.append(y_hat)
    expected = sum(w * f for w, f in zip(weights, predicted, strict=True)) * y.std(0) + y.mean(0)
    assert_allclose(model.predict(x).reshape(60, q), expected, rtol=1e-6, atol=1e-6 * y.std())


def test_a_row_is_predicted_alone_as_among_others_by_linear_parts_to_the_bit():
    x, _, model = mixed()
    x = x[:20]
    for use in (model.predict, model.transform):
        alone = np.vstack([use(x[[i]]) for i in range(20)])
        assert_allclose(alone, use(x), rtol=1e-12, atol=1e-13)  # networks are evaluated by kernels for many rows
    for part in model._fitted.mixture.parts[:2]:
        alone = np.vstack([part.predict(x[[i]], None) for i in range(20)])
        assert_array_equal(alone, part.predict(x, None))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("lacks", [False, True])
def test_the_jacobian_is_that_of_finite_differences(lacks):
    x, _, model = mixed(lacks=lacks)
    model = model._fitted
    assert any(block.view is not None for part in model.mixture.parts for block in part.table.blocks.values())
    present = lacking()[:9] if lacks else None
    table = np.where(np.isnan(x), 0.0, x)[:9]
    found = np.concatenate(list(model.jacobians(table, present)))
    assert found.shape == (9, 2, 28)
    for j in range(28):
        up, down = table.copy(), table.copy()
        up[:, j] += 1e-5
        down[:, j] -= 1e-5
        slope = (model.evaluate(up, present)[1] - model.evaluate(down, present)[1]) / 2e-5
        assert_allclose(found[:, :, j], slope, rtol=1e-4, atol=1e-5 * np.abs(found).max())
    if lacks:
        assert (found[:, :, :24][~present[:, 0]] == 0).all() and (found[:, :, 24:][~present[:, 1]] == 0).all()


def test_importances_are_root_mean_square_slopes_times_spreads():
    x, y, model = mixed()
    slopes = np.concatenate(list(model._fitted.jacobians(x, None))) / y.std(0)[:, None]
    expected = np.sqrt(np.square(slopes).mean((0, 1))) * x.std(0)
    assert_allclose(model.feature_importances_, expected / expected.sum(), rtol=1e-6)


@pytest.mark.slow
def test_the_importance_of_a_category_is_what_an_independent_draw_of_it_changes():
    rng = np.random.default_rng(0)
    codes, number = rng.integers(0, 3, 60), rng.standard_normal(60)
    x = pd.DataFrame({"kind": pd.Categorical(np.array(list("abc"))[codes]), "number": number})
    y = np.array([0.0, 2.0, 5.0])[codes] + number + 0.1 * rng.standard_normal(60)
    model = make().fit(x, y, THREE)
    before, change = model.predict(x), 0.0
    for code, label in enumerate("abc"):
        other = model.predict(x.assign(kind=pd.Categorical([label] * 60, categories=list("abc"))))
        change += np.mean(codes == code) * np.square(other - before).mean()
    eps = 1e-5
    slope = (model.predict(x.assign(number=number + eps)) - model.predict(x.assign(number=number - eps))) / (2 * eps)
    expected = np.sqrt([change / 2, np.square(slope).mean() * number.var()])
    assert_allclose(model.feature_importances_, expected / expected.sum(), rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------- Z


@pytest.mark.sampled()
@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("c", [1, 2, 5])
def test_z_is_the_predictions_then_what_carries_nothing_of_them_or_of_what_they_leave(q, c):
    x, y, model = mixed(q, c)
    z, predicted = model.transform(x), model.predict(x).reshape(60, q)
    assert z.shape == (60, c)
    assert_allclose(z.mean(0), 0.0, atol=1e-9)
    assert_allclose(z.var(0), model.component_variance_, rtol=1e-8, atol=1e-12)
    if c < q:  # the principal axis of the standardised predictions
        _, _, axes = np.linalg.svd((predicted - predicted.mean(0)) / y.std(0), full_matrices=False)
        along = (predicted / y.std(0)) @ axes[0]
        assert abs(np.corrcoef(along, z[:, 0])[0, 1]) > 1 - 1e-9
        return
    assert_allclose(z[:, :q], (predicted - predicted.mean(0)) / y.std(0), atol=1e-9)
    left = y - predicted
    for others in (predicted, left):
        products = z[:, q:].T @ (others - others.mean(0)) / 60
        assert_allclose(products, 0.0, atol=1e-8)
    assert (z[:, q:].var(0) > 0).all()


def test_more_components_than_directions_are_zeros_at_the_end():
    x, y = rows()
    x, y = x[:, 24:], y[:, 0]
    z = make(n_components=9).fit(x, y, THREE).transform(x)
    assert z.shape == (60, 9)
    assert np.linalg.matrix_rank(z, tol=1e-8) == (z.std(0) > 1e-8).sum() <= 5
    assert (z[:, 5:] == 0).all()


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_what_is_rounding_beside_the_widest_direction_is_none_of_z(unit):
    variance = unit * np.diag([4.0, 1e-15, 1.0])
    directions = _widest(variance, np.zeros((3, 1)), 3)
    assert_allclose(np.abs(directions), [[1, 0], [0, 0], [0, 1]], atol=1e-9)


@pytest.mark.parametrize("q", [1, 2])
def test_least_squares_behind_z_are_the_mixture_again(q):
    """What y_hat leaves of y is uncorrelated with all of Z but y_hat, so that only its scale can change."""
    x, y, model = mixed(q, 5)
    z, predicted = model.transform(x), model.predict(x).reshape(60, q)
    behind = Ridge(1e-9).fit(z, y).predict(z).reshape(60, q)
    assert_allclose(behind, LinearRegression().fit(predicted, y).predict(predicted), atol=1e-6)


# --------------------------------------------------------------------------------------------- as an estimator


@pytest.mark.slow
def test_kept_and_fitted_again_it_has_the_same_bits(tmp_path):
    x, y, model = mixed()
    model.save(tmp_path / "m.npz")
    others = [
        FDRMFLTransformer.load(tmp_path / "m.npz"),
        pickle.loads(pickle.dumps(model)),
        clone(model).fit(x, y, THREE),
        make(**MIXED, n_jobs=2).fit(x, y, THREE),
    ]
    for other in others:
        assert_array_equal(other.predict(x), model.predict(x))
        assert_array_equal(other.transform(x), model.transform(x))
        assert_array_equal(other.feature_importances_, model.feature_importances_)
        assert list(other.members_) == list(model.members_)


@pytest.mark.slow
@pytest.mark.skipif(native.library(np.dtype(np.float32)) is None, reason="there is no native engine here")
def test_engines_agree():
    x, y, model = mixed()
    torch = make(**MIXED, engine="torch").fit(x, y, THREE)
    assert model.engine_ == "native"
    assert_allclose(model.predict(x), torch.predict(x), atol=2e-3 * y.std())


@pytest.mark.slow
def test_single_precision_in_is_single_precision_out_and_nearly_the_same():
    x, y, model = mixed(q=1)
    single = make(**MIXED).fit(x.astype(np.float32), y, THREE)
    z = single.transform(x.astype(np.float32))
    assert z.dtype == np.float32 and np.isfinite(z).all()
    assert_allclose(single.predict(x.astype(np.float32)), model.predict(x), atol=0.05 * y.std())


@pytest.mark.slow
def test_searches_and_pipelines_take_it():
    x, y = rows(q=1)
    y = y[:, 0]
    search = GridSearchCV(make(), {"n_components": [1, 2]}, cv=2).fit(x, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(cross_val_predict(make_pipeline(make(), Ridge()), x, y, cv=KFold(2))).all()


# --------------------------------------------------------------------------------------------------- the federation


def test_one_client_is_central_training():
    x, y = rows()
    central, one = make().fit(x, y), make().fit(x, y, np.full(60, "site"))
    assert_array_equal(central.predict(x), one.predict(x))


def test_names_of_clients_do_not_matter():
    x, y, model = mixed()
    named = make(**MIXED).fit(x, y, np.array(list("abc"))[THREE])
    assert_array_equal(named.predict(x), model.predict(x))


def test_rows_of_a_group_are_held_out_together():
    """Twenty rows, each four times: apart, every copy held out is known, and the error is that of the training rows."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((20, 40)), rng.standard_normal(20)
    copies = np.repeat(x, 4, axis=0) + 1e-6 * rng.standard_normal((80, 40))
    y, groups = np.repeat(noise, 4), np.repeat(np.arange(20), 4)
    apart = make().fit(copies, y).members_[0]["error"]
    together = make().fit(copies, y, groups=groups).members_[0]["error"]
    assert apart < 0.5 * together and together > 0.8 * y.std()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("after", [1, 4, 5])
def test_an_interrupt_leaves_the_mixture_of_the_finished_rounds(monkeypatch, after):
    """In the first of two passes of three rounds, and in the second, whose network then is a member as far as it is."""
    x, y = rows()
    train = MixtureFitting.train

    def stopped(self, *, each_round=True):
        for i, stand in enumerate(train(self, each_round=True), 1):
            yield stand
            if i == after:
                raise KeyboardInterrupt

    monkeypatch.setattr(MixtureFitting, "train", stopped)
    model = make(modalities=MODALITIES)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, THREE)
    assert np.isfinite(model.predict(x)).all() and np.isfinite(model.transform(x)).all()
    assert_allclose(np.sum([m["weight"] for m in model.members_[1:]], 0), 1.0)
    assert ("network of residuals" in {m["name"] for m in model.members_}) == (after > 3)


def test_members_without_weight_are_counted_and_not_shown():
    members = [("mixture", 1.0), ("ridge", 0.75), ("mean", 0.25), ("pls", 0.0), ("network", 0.0)]
    rows = [{"name": name, "view": "raw", "weight": weight, "error": 2.5} for name, weight in members]
    title, *shown, rest = repr(MemberTable(rows)).splitlines()
    assert [line.split()[:2] for line in shown] == [["mixture", "1.000"], ["ridge", "0.750"], ["mean", "0.250"]]
    assert rest == "and 2 without weight"
    several = [{"name": "ridge", "view": "raw", "weight": [0.0, 1.0], "error": [1.0, 2.0]}]
    assert "0.000, 1.000" in repr(MemberTable(several))
    assert title.startswith("member")
