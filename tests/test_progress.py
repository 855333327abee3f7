"""What `verbose` prints is what `history_` says: means by rows, of whoever took part."""

import re

import numpy as np
import pytest

from skfdrmfl import FDRMFLTransformer

rng = np.random.default_rng(0)
X = rng.standard_normal((80, 4))
IDS = np.repeat(["large", "small"], [70, 10])
Y = np.where(IDS == "large", X[:, 0], 3.0 * rng.standard_normal(80))  # the small client errs much more


@pytest.mark.parametrize(
    "options",
    [{}, {"participation": 0.5}, {"early_stopping": True, "n_iter_no_change": 2, "learning_rate": 0.3}],
    ids=["all", "half", "stopped"],
)
def test_the_numbers_printed_are_the_historys_means_by_rows(options, capsys):
    model = FDRMFLTransformer(n_rounds=6, local_epochs=1, random_state=0, verbose=2, **options).fit(X, Y, IDS)
    printed = re.findall(r"round (\d+)/6, loss (\S+), mse (\S+)", capsys.readouterr().out)
    history = model.history_
    expected = [
        (str(t + 1), f"{history['loss'][t]:.4g}", f"{history['mse'][t]:.4g}") for t in range(len(history["loss"]))
    ]
    assert printed == expected
    rows = np.array([63.0, 9.0]) if "early_stopping" in options else np.array([70.0, 10.0])
    for t, (_, loss, mse) in enumerate(printed):
        for name, value in (("loss", loss), ("mse", mse)):
            of_clients = history[f"{name}_per_client"][t]
            took_part = ~np.isnan(of_clients)
            mean = (rows[took_part] * of_clients[took_part]).sum() / rows[took_part].sum()
            assert float(value) == pytest.approx(mean, rel=1e-3)
            if took_part.all():  # the mean over clients is another number
                assert abs(of_clients.mean() - mean) > 0.1 * abs(mean)


def test_partial_fit_prints_its_one_round_of_the_clients_who_are_there(capsys):
    model = FDRMFLTransformer(random_state=0, verbose=1).partial_fit(X, Y, IDS)
    small = IDS == "small"
    model.partial_fit(X[small], Y[small], IDS[small])
    printed = re.findall(r"round 1/1, loss (\S+), mse (\S+)", capsys.readouterr().out)
    history = model.history_
    assert printed == [(f"{loss:.4g}", f"{mse:.4g}") for loss, mse in zip(history["loss"], history["mse"], strict=True)]
    assert history["mse"][1] == history["mse_per_client"][1, 1]
