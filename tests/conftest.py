"""Settings that have to be in place before the first test module is imported."""

import gc
import os
from collections import Counter, defaultdict

# One thread a process: two test processes then share two cores fairly, and sums are added in the same order
# everywhere. A test about threads sets their number itself.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")  # figures without a screen

import pytest

# Collecting makes a million objects that stay: searching them for garbage again and again took a quarter of its time.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Prepare a process that runs tests. One that hands them out to others would import for seconds, before they do."""
    if session.config.pluginmanager.hasplugin("dsession"):
        return
    import native_builds
    from hypothesis import settings
    from hypothesis.internal.conjecture import providers

    native_builds.register()

    # Hypothesis would read every file of the package for numbers to try: a second in each process, and examples would
    # then depend on what else has been imported, "deterministic" or not.
    providers._get_local_constants = lambda: providers._local_constants

    # "deterministic" draws the same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones, and more.
    settings.register_profile("deterministic", derandomize=True, database=None, deadline=None, max_examples=15)
    settings.register_profile("explore", derandomize=False, deadline=None, max_examples=500, print_blob=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deterministic"))


@pytest.fixture(autouse=True)
def nothing_prepared():
    """Let every test prepare its own fits: some change what preparation does."""
    from skfdrmfl.fit.fit_preprocessing import MEMO

    MEMO.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leave what a test has marked `sampled` to the slow tests, but for some of its cases.

    `sampled(n)` keeps the first and every n-th after it; `sampled()`, of a product, those that bring a value not seen.
    """
    n_cases, values = Counter(), defaultdict(set)
    for item in items:
        if (mark := item.get_closest_marker("sampled")) is None:
            continue
        test, case = (item.path, item.originalname), {(name, id(value)) for name, value in item.callspec.params.items()}
        if n_cases[test] % mark.args[0] if mark.args else case <= values[test]:
            item.add_marker(pytest.mark.slow)
        n_cases[test] += 1
        values[test] |= case


def pytest_collection_finish():
    """Search for garbage from now on, among what comes from now on."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as often as by default takes a twentieth of the time
    gc.enable()
