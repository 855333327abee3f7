"""The tables in docs/data that benchmarks write: columns and labels as they stand there."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# For each script: what takes its minutes, and takes none here; further arguments.
WRITERS = {
    "drift": ({"rmse": lambda seed, partition, **parameters: 1.0 + seed % 2}, ["--seeds", "31", "32"]),
    "sites": (
        {
            "errors": lambda corn, target, seed, settings: [(2.0 + seed % 3, 1.0), (1.0, 2.0)],
            "fetch_corn": lambda *a, **k: None,
        },
        [],
    ),
    "robust": (
        {"rmse": lambda folds, X, y, seed, attack, parameters: 1.0 + (seed % 2) * bool(parameters)},
        ["--rules", "mean", "median + lengths+nnm, 90 rounds"],
    ),
}


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", WRITERS)
def test_a_benchmark_writes_the_table_that_the_documentation_keeps(name, monkeypatch, tmp_path):
    quick, arguments = WRITERS[name]
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module(name)
    for function, stub in quick.items():
        monkeypatch.setattr(script, function, stub)
    command = [name, *arguments, "--out", str(tmp_path), "--csv", str(tmp_path / "table.csv")]
    monkeypatch.setattr("sys.argv", command)
    script.main()
    written, kept = read(tmp_path / "table.csv"), read(ROOT / "docs" / "data" / f"{name}.csv")
    assert written[0] == kept[0]
    assert [row[:2] for row in written] == [row[:2] for row in kept]
    values = np.array([float(row[2]) for row in written[1:]])
    assert np.isfinite(values).all() and len(set(values)) > 1
    assert all(len(row) == len(kept[0]) for row in written)


def test_a_table_of_sites_has_ratios_and_their_intervals(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sites = importlib.import_module("sites")
    found = np.array([[[2.0, 1.0], [3.0, 3.0]], [[8.0, 1.0], [3.0, 3.0]]])  # ratios 2 and 8; 1 and 1
    (ratio, low, high), constant = sites.intervals(found)
    assert ratio == pytest.approx(4.0)
    assert low * high == pytest.approx(16.0) and low < 2.0
    np.testing.assert_allclose(constant, 1.0)


def test_a_cell_of_attacks_has_half_an_interval_where_there_is_one(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    robust = importlib.import_module("robust")
    assert robust.cells([1.0, 1.0, 1.0]) == ("1.00", "")
    assert robust.cells([1.0, 1.2]) == ("1.10", "1.27")  # 12.7 standard errors of .1
    assert robust.cells([9000.0, 9001.0]) == ("9e+03", "")
    assert robust.cells([1.0, np.nan]) == ("", "")
    assert [robust.cell(x) for x in ([1.0, 1.2], [1.0, np.nan])] == ["1.10 ± 1.27", "fails"]
