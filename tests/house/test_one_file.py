"""A new algorithm, rule or mixing is one file: each is put into a copy of the package, and fitted with there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skfdrmfl

ALGORITHM = """
from skfdrmfl.server.algorithms.base import Algorithm


class HalfWay(Algorithm):
    def step(self, state, model, average, round_):
        return model + 0.5 * (average - model), state
"""
RULE = """
import numpy as np


def of_numpy(points, n_byzantine=0):
    return np.median(points, axis=0)


RULES = {"of_numpy": of_numpy}
"""
MIXING = """
def without_the_longest(points, n_byzantine):
    longest = (points**2).sum(1).argmax()
    return points[[k for k in range(len(points)) if k != longest]], n_byzantine - 1


MIXINGS = {"without_the_longest": without_the_longest}
"""
# Half a step is a momentum without memory, at half the rate.
FIT = """
import sys
import numpy as np
import skfdrmfl

assert skfdrmfl.__file__.startswith(sys.argv[1]), skfdrmfl.__file__
X = np.random.default_rng(0).standard_normal((40, 4))
y, sites = X @ [1.0, -1.0, 0.5, 0.0], np.arange(40) % 4


def fitted(**parameters):
    model = skfdrmfl.FDRMFLTransformer(n_rounds=3, random_state=0, tuning=None, **parameters).fit(X, y, sites)
    return model.predict(X)


half = fitted(algorithm="fedavgm", server_learning_rate=0.5, server_momentum=0.0)
np.testing.assert_allclose(fitted(algorithm="halfway"), half, rtol=1e-4, atol=1e-5)
assert np.abs(half - fitted()).max() > 1e-2
median = fitted(aggregation="median")
np.testing.assert_allclose(fitted(aggregation="of_numpy"), median, rtol=1e-4, atol=1e-5)
mixed = fitted(aggregation="median", preaggregation="without_the_longest", n_byzantine=1)
assert np.isfinite(mixed).all() and np.abs(mixed - median).max() > 1e-3
"""


@pytest.mark.slow
def test_a_new_algorithm_a_new_rule_and_a_new_mixing_are_a_file_each(tmp_path):
    package = tmp_path / "skfdrmfl"
    shutil.copytree(Path(skfdrmfl.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "server/algorithms/half_way.py").write_text(ALGORITHM)
    (package / "server/aggregation/of_numpy.py").write_text(RULE)
    (package / "server/aggregation/without_the_longest.py").write_text(MIXING)
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
