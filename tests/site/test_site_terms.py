"""A site's estimator and the server's plan: each parameter is compared, or declared free to the server."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from wire import Wire, fit_over, rows_of

from skfdrmfl import FDRMFLTransformer
from skfdrmfl.clients.remote.codec import from_packet, to_packet
from skfdrmfl.clients.remote.packet import Request
from skfdrmfl.encoders import LinearEncoder
from skfdrmfl.fit.parameters import FREE
from skfdrmfl.protocol.door import NoAnswer
from skfdrmfl.site import remote_fit
from skfdrmfl.site.site_data import site_of
from skfdrmfl.site.site_terms import agreed_parameters

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = X[:, 0] + 0.1 * RNG.standard_normal(60)
LABELS = np.array(["a", "b", "c"])[np.arange(60) % 3]
SMALL = {"tuning": None, "n_rounds": 2, "local_epochs": 1, "random_state": 0}
NAMES = set(inspect.signature(FDRMFLTransformer).parameters)
# Of each parameter another value than the default, and than `SMALL`.
OTHER = {
    **dict(n_components=1, modalities={"u": [0, 1], "v": [2, 3]}, encoders=LinearEncoder(), hidden_layer_sizes=(8,)),
    **dict(modality_dim=4, fusion="mean", head_hidden_layer_sizes=(4,), mi_weight=0.5, kl_weight=0.5),
    **dict(contrastive_weight=0.5, alignment="contrastive", temperature=1.0, history_size=1, n_rounds=3),
    **dict(local_epochs=2, batch_size=8, learning_rate=0.5, weight_decay=0.0, input_l1=0.5, modality_dropout=0.5),
    **dict(preprocessing="standardize", pretreatment="snv", shrinkage=0.5, algorithm="fedadam", aggregation="median"),
    **dict(proximal_weight=0.5, server_learning_rate=0.5, server_momentum=0.5, preaggregation="nnm"),
    **dict(n_byzantine=1, participation=0.5, min_clients=2, dp_noise_multiplier=1.0, dp_clip_norm=1.0),
    **dict(dp_target_quantile=0.5, dp_bounds={"X": (-4, 4), "y": (-4, 4)}, dp_delta=0.5, engine="torch"),
    **dict(tuning="mixture", early_stopping=True, validation_fraction=0.5, n_iter_no_change=1),
    **dict(client_column="c", groups_column="g"),
}


def site(parameters, label, **more):
    return site_of(FDRMFLTransformer(**SMALL | parameters), rows_of(X, Y, label == LABELS), label, **more)


def fit(at_sites, at_server):
    wire = Wire({label: site(at_sites, label) for label in "abc"})
    return fit_over(wire, FDRMFLTransformer(**SMALL | at_server)), wire


def test_every_parameter_is_compared_or_declared_free_with_a_reason():
    compared = set(agreed_parameters(FDRMFLTransformer())) - {"skfdrmfl"}
    assert compared | set(FREE) == NAMES and not compared & set(FREE)
    assert compared == set(OTHER)
    assert all(len(reason) > 10 for reason in FREE.values())


@pytest.mark.parametrize("name", sorted(NAMES - set(FREE)))
def test_what_a_site_has_set_otherwise_is_refused_at_each_with_both_values_before_anything_leaves(name, caplog):
    mine, theirs = (agreed_parameters(FDRMFLTransformer(**SMALL | p))[name] for p in ({name: OTHER[name]}, {}))
    assert mine != theirs
    said = f"{name} is {mine} here but {theirs} at the server; give both the same estimator."
    wire = Wire({label: site({name: OTHER[name]}, label) for label in "abc"})
    with pytest.raises(NoAnswer, match=f"3 of 3 .*{re.escape(said)}"):
        fit_over(wire, FDRMFLTransformer(**SMALL))
    assert caplog.text.count(f"describe: refused: {said}") >= 3  # where the rows are, too
    assert {request.what for _, request, *_ in wire.asked} == {"describe"}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", sorted(FREE))
def test_what_is_free_to_the_server_changes_nothing_that_a_site_does(name, tmp_path):
    other = {
        **dict(
            random_state=7,
            availability=[[1, 0, 1]],
            n_jobs=2,
            device="auto",
            verbose=1,
            warm_start=True,
            suspects="drop",
        ),
        **dict(checkpoint_path=str(tmp_path / "c"), checkpoint_every=7),
    }
    (a, _), (b, _) = fit({}, {}), fit({name: other[name]}, {})
    assert a._fitted.models.tobytes() == b._fitted.models.tobytes()
    assert not (tmp_path / "c").exists()


def test_six_sites_configured_as_private_are_not_trained_without_privacy():
    private = dict(
        dp_noise_multiplier=1.0, dp_clip_norm=0.1, preprocessing="standardize", dp_bounds={"X": (-1, 1), "y": (0, 40)}
    )
    with pytest.raises(NoAnswer, match=r"3 of 3 .* dp_bounds is .* here but None at the server"):
        fit(private, {})
    public = dict(preprocessing="standardize", dp_bounds=private["dp_bounds"])
    with pytest.raises(NoAnswer, match=r"3 of 3 .* dp_clip_norm is 0\.1 here but inf at the server"):
        fit(private, public)


# ------------------------------------------------------- a server that says one thing of itself, and does another


LIES = {
    **dict(n_rounds=3, local_epochs=2, batch_size=8, history_size=1, algorithm="fedadam", aggregation="median"),
    **dict(preaggregation="nnm", n_byzantine=1, participation=0.5, min_clients=2, early_stopping=True),
    **dict(learning_rate=0.5, weight_decay=0.0, input_l1=0.5, mi_weight=0.5, temperature=1.0),
}


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_plan_that_is_not_what_the_server_has_said_is_refused_by_name(name, monkeypatch):
    honest = agreed_parameters(FDRMFLTransformer(**SMALL))
    monkeypatch.setattr(remote_fit, "agreed_parameters", lambda estimator: honest)
    known = {"early_stopping": "n_iter_no_change|early_stopping"}.get(name, name)
    if name == "n_byzantine":
        monkeypatch.setattr("skfdrmfl.fit.prepare.check_byzantine", lambda *_: None)
    wire = Wire({label: site({}, label) for label in "abc"})
    try:
        fit_over(wire, FDRMFLTransformer(**SMALL | {name: LIES[name]}))
    except NoAnswer as error:
        said = str(error)
    else:
        pytest.fail("trained")
    assert re.search(rf"refused .*({known}) is .* here but .* in the server's plan", said)
    trained = [answer for answer in wire.asked if answer[1].what == "train" and answer[3] > 500]
    assert not trained


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda about: about | {"rate": 1e6}, r"1000000.0 times the learning_rate"),
        (lambda about: about | {"shift": np.zeros((1, 1), np.float32)}, "a round moves gradients"),
    ],
    ids=["rate", "shift"],
)
def test_a_round_that_is_none_of_the_plan_is_refused(spoil, said):
    class Spoiled(Wire):
        def answer(self, address, packet):
            request = Request.of_packet(packet)
            if request.what == "train":
                packet = replace(request, about=to_packet(spoil(from_packet(request.about)))).packet()
            return super().answer(address, packet)

    with pytest.raises(NoAnswer, match=f"refused .*{said}"):
        fit_over(Spoiled({label: site({}, label) for label in "abc"}), FDRMFLTransformer(**SMALL))


PRIVATE = {
    **dict(dp_noise_multiplier=1.0, dp_clip_norm=0.1, dp_bounds={"X": (-4, 4), "y": (-4, 4)}),
    **dict(preprocessing="standardize", participation=0.9),
}


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"dp_noise_multiplier": 0.0, "dp_clip_norm": np.inf}, "'sums of columns' leaves without noise, but dp_noise"),
        (
            {"dp_noise_multiplier": 0.5},
            "dp_noise_multiplier of the site's estimator is 1.0 but 0.5 in",
        ),
        ({"dp_clip_norm": 1.0}, "dp_clip_norm of the site's estimator is 0.1 but 1.0 in the server's plan"),
        ({"dp_bounds": {"X": (-9, 4), "y": (-4, 4)}}, "dp_bounds of the site's estimator are .* those of X"),
        ({"participation": 1.0}, "participation is 0.9 here but 1.0 in the server's plan"),
    ],
    ids=["none", "noise", "clip", "bounds", "participation"],
)
def test_a_site_configured_as_private_answers_nothing_that_is_less_so(lie, said, monkeypatch, caplog):
    pytest.importorskip("dp_accounting")
    honest = agreed_parameters(FDRMFLTransformer(**SMALL | PRIVATE))
    monkeypatch.setattr(remote_fit, "agreed_parameters", lambda estimator: honest)
    wire = Wire({label: site(PRIVATE, label) for label in "abc"})
    with pytest.raises(Exception):  # noqa: B017  a fit without answers ends in one way or another
        fit_over(wire, FDRMFLTransformer(**SMALL | PRIVATE | lie))
        raise NoAnswer("a private round without answers is noise alone")
    assert re.search(said, caplog.text)
    assert not [1 for _, request, _, n_bytes in wire.asked if request.what == "train" and n_bytes > 500]
