"""Tables from files: what is found in them is said, what cannot be meant is refused, nothing is guessed in silence."""

from __future__ import annotations

import builtins
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from skfdrmfl.cli.columns import divide
from skfdrmfl.cli.errors import FileProblem, UsageError
from skfdrmfl.cli.hints import LINEAR, correlations
from skfdrmfl.cli.reading import read_table
from skfdrmfl.cli.tables.cells import numbers_of, text_of

N = 40


def options(**changes):
    defaults = {
        "separator": None,
        "decimal": [],
        "header": None,
        "transpose": False,
        "default_na": True,
        "sheet": None,
        "na": [],
        "target": ["fat"],
        "clients_column": None,
        "groups_column": None,
        "drop": [],
        "keep": [],
        "categories": [],
        "missing": "error",
        "modalities": None,
        "file": Path("table.csv"),
    }
    return Namespace(**(defaults | changes))


def spectra(n=N):
    """Twelve wavelengths, a target that they do not give away, and what else stands in a laboratory's table."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((n, 12)), columns=[f"{850 + 2 * j}" for j in range(12)])
    frame["fat"] = frame["850"] + frame["852"] + rng.standard_normal(n)
    frame["site"] = np.array(["lab", "mill"])[np.arange(n) % 2]
    frame["sample"] = np.arange(n) // 4
    return frame


def read(path, **changes):
    return read_table(path, options(**changes))


def parts(frame, **changes):
    return divide(frame, options(**changes))


def assert_says(found, frame, rtol=0):
    """The table has the numbers of the frame, and the text of all else."""
    assert list(found.columns) == list(frame.columns)
    for name, column in frame.items():
        if column.dtype.kind in "if":
            numbers, odd = numbers_of(found[name])
            assert_allclose(numbers, column, rtol=rtol, atol=0)
            assert not len(odd)
        else:
            assert text_of(found[name]).tolist() == column.tolist()


def said(columns, start):
    found = [note for note in columns.notes if note.startswith(start)]
    assert len(found) == 1, columns.notes
    return found[0]


# --------------------------------------------------------------------------------------------------- reading
@pytest.mark.parametrize(
    ("suffix", "separator", "decimal", "says"),
    [
        (".csv", ",", ".", "separated by ','"),
        (".csv", ";", ",", "separated by ';'"),
        (".csv", ";", ".", "separated by ';'"),
        (".tsv", "\t", ",", "separated by a tabulator"),
        (".txt", "|", ".", "separated by '|'"),
    ],
)
def test_a_text_file_gives_the_table_that_was_written_whatever_parts_it(tmp_path, suffix, separator, decimal, says):
    frame = spectra().assign(remark="a, b; c")  # both in one value, quoted
    path = tmp_path / f"table{suffix}"
    frame.to_csv(path, index=False, sep=separator, decimal=decimal)
    found, notes = read(path)
    assert_says(found, frame)
    assert notes == [f"Read {path}: 40 rows x 16 columns ({says})."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_umlauts_survive_what_spreadsheets_write(tmp_path, encoding):
    path = tmp_path / "table.csv"
    spectra().assign(Prüfer="Jörg").to_csv(path, index=False, sep=";", decimal=",", encoding=encoding)
    found, notes = read(path)
    assert list(found.columns)[-1] == "Prüfer" and (found["Prüfer"] == "Jörg").all()
    assert ("encoded as cp1252" in notes[0]) == (encoding == "cp1252")


def test_a_separator_and_a_decimal_mark_that_are_named_are_taken(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a:b\n1,5:2\n", encoding="utf-8")
    found, _ = read(path, separator=":", decimal=[(None, ",")])
    assert_says(found, pd.DataFrame({"a": [1.5], "b": [2]}))


def test_excel_and_parquet_give_the_table_that_was_written(tmp_path):
    pytest.importorskip("openpyxl")
    pytest.importorskip("pyarrow")
    frame = spectra()
    frame.to_parquet(tmp_path / "table.parquet")
    found, _ = read(tmp_path / "table.parquet")
    assert_says(found, frame)
    with pd.ExcelWriter(tmp_path / "table.xlsx") as book:
        pd.DataFrame().to_excel(book, sheet_name="empty")
        frame.to_excel(book, sheet_name="data", index=False)
    found, notes = read(tmp_path / "table.xlsx")  # the only sheet with something on it
    assert_says(found, frame, rtol=1e-15)  # a workbook has 16 digits
    assert "sheet 'data'" in notes[0]
    with pd.ExcelWriter(tmp_path / "two.xlsx") as book:
        frame.to_excel(book, sheet_name="data", index=False)
        frame.to_excel(book, sheet_name="more", index=False)
    with pytest.raises(UsageError, match=r"2 sheets with something on them \('data', 'more'\); name one with --sheet"):
        read(tmp_path / "two.xlsx")
    with pytest.raises(UsageError, match=r"'dat' is not in .*two.xlsx; choose from 'data', 'more'"):
        read(tmp_path / "two.xlsx", sheet="dat")
    assert len(read(tmp_path / "two.xlsx", sheet="more")[0]) == N


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        (
            "table.doc",
            "x",
            UsageError,
            "is no kind of file that can be read; name a .csv, .tsv, .txt, .parquet or .xlsx",
        ),
        ("gone.csv", None, FileProblem, "is not there; look at the name"),
        ("table.csv", "", FileProblem, "is empty; save the table again"),
        ("table.csv", "\n\n", FileProblem, "has no text in it"),
        ("table.csv", "a,b\n", FileProblem, "has a line of names and no rows"),
        ("table.csv", "a,b,a\n1,2,3\n", FileProblem, "more than one column called 'a'; give each column a name"),
        ("table.csv", "a,b\n1,2,3\n4,5,6\n", FileProblem, "more values in its rows than names in its first line"),
        ("table.csv", "a,b\n" + "1,2\n" * 60 + "1,2,3\n", FileProblem, "more values in its rows than names"),
        ("table.csv", "PK\0\0", FileProblem, "is no text, whatever its name says"),
    ],
)
def test_what_is_no_table_is_refused_with_the_remedy(tmp_path, name, text, error, message):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error) as refused:
        read(tmp_path / name)
    assert message in str(refused.value)
    assert str(tmp_path / name) in str(refused.value)


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    real = builtins.__import__

    def without_pandas(name, *rest, **more):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(FileProblem, match='needs pandas to be read, .* pip install "pandas'):
        read(tmp_path / "table.csv")


def test_empty_rows_are_left_out_and_the_others_keep_their_numbers(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n,\n3,4\n", encoding="utf-8")
    found, notes = read(tmp_path / "table.csv")
    assert found.index.tolist() == [0, 2]
    assert notes[1] == "Left out 1 empty rows."


# --------------------------------------------------------------------------------------------------- columns
def test_columns_are_what_the_options_say_and_the_rest_are_features():
    frame = spectra()
    found = parts(frame, clients_column="site", groups_column="sample", drop=["86*"])
    assert list(found.X.columns) == [f"{850 + 2 * j}" for j in (0, 1, 2, 3, 4, 10, 11)]
    assert_frame_equal(found.y, frame[["fat"]])
    assert found.clients.tolist() == frame["site"].tolist()
    assert found.groups.tolist() == [str(label) for label in frame["sample"]]
    assert said(found, "Left out as asked") == "Left out as asked: 860, 862, 864, 866, 868."
    assert said(found, "2 clients") == "2 clients: lab (20 rows), mill (20 rows)."
    assert said(found, "10 groups") == "10 groups of rows that stay together."


def test_every_column_that_is_no_feature_is_named_with_the_reason():
    frame = spectra().drop(columns=["site", "sample"])
    frame.insert(0, "Unnamed: 0", range(N))
    frame["number"] = range(1, N + 1)
    frame["operator"] = ["Ann", "Bob"] * 20
    frame["day"] = pd.date_range("2024-01-01", periods=N)
    frame["remark"] = np.nan
    frame["fresh"] = frame["fat"] > 0
    found = parts(frame)
    assert list(found.X.columns) == [*spectra().columns[:12], "fresh"]
    assert "operator (2 values, such as 'Ann'); --categories NAME" in said(found, "Left out, text")
    assert said(found, "Left out, dates") == "Left out, dates: day."
    assert said(found, "Left out, empty") == "Left out, empty: remark."
    assert "Unnamed: 0, number; --keep NAME uses it" in said(found, "Left out, numbers the rows")
    assert said(found, "fresh") == "fresh holds yes and no: used as 1 and 0."
    assert "and fresh. If these are not known when predicting" in said(found, "Features: 12 columns that look like")
    kept = parts(frame, keep=["number"], categories=["operator"])
    assert "number" in kept.X and str(kept.X["operator"].dtype) == "category"
    assert kept.X["operator"].tolist() == ["Ann", "Bob"] * 20


def test_a_row_counter_is_known_although_rows_without_a_target_are_left_out():
    frame = spectra().assign(row=range(1, N + 1))
    frame.loc[[3, 7], "fat"] = np.nan
    found = parts(frame)
    assert "row" in said(found, "Left out, numbers the rows")
    assert said(found, "Left out 2 rows") == "Left out 2 rows without fat."
    assert len(found.X) == len(found.y) == N - 2


def test_another_form_of_the_target_is_refused_and_what_is_near_it_is_named():
    frame = spectra().assign(percent=lambda f: 100 - 10 * f["fat"])
    with pytest.raises(UsageError, match=r"column percent is a linear function of the target fat.*--drop percent"):
        parts(frame)
    assert "percent" in parts(frame, keep=["percent"]).X
    rng = np.random.default_rng(1)
    near = parts(frame.assign(percent=frame["fat"] + 0.1 * rng.standard_normal(N)))
    assert "percent (0.99" in said(near, "Nearly the target")
    assert not [note for note in parts(spectra()).notes if note.startswith("Nearly")]


def test_several_targets_are_no_features_of_each_other():
    frame = spectra().assign(water=lambda f: 70 - f["fat"])
    found = parts(frame, target=["fat", "water"])
    assert list(found.y.columns) == ["fat", "water"]
    assert "water" not in found.X


@pytest.mark.parametrize(
    ("changes", "column", "message"),
    [
        ({"target": []}, {}, "--target: none of the columns is named; choose from 850, 852"),
        ({"target": ["Fat"]}, {}, "--target: Fat is no column of the table; did you mean 'fat'?"),
        ({"target": ["fat", "fat"]}, {}, "--target: fat is asked for twice"),
        ({"clients_column": "plant"}, {}, "--clients-column: plant is no column of the table; choose from 850"),
        ({"drop": ["x*"]}, {}, "--drop: x* is no column of the table"),
        ({"drop": ["f*"]}, {}, "--drop: fat is also asked for as target, clients or groups"),
        ({}, {"fat": ["beef", "pork"] * 20}, "fat holds text (beef, pork), and only numbers can be predicted"),
        ({}, {"fat": ["1.5"] * 39 + ["n.d."]}, "1 value that are no numbers, such as 'n.d.' in row 40"),
        ({}, {"fat": [True, False] * 20}, "fat holds yes and no"),
        ({}, {"fat": pd.date_range("2024-01-01", periods=N)}, "fat holds dates"),
        ({}, {"fat": 3.0}, "fat has the same value in all rows"),
        ({}, {"fat": np.nan}, "fat has no values"),
        ({}, {"fat": [np.inf] + [1.0] * 39}, "fat has infinite values"),
        ({}, {"850": [np.inf] + [1.0] * 39}, "has infinite values in 850"),
        ({"clients_column": "site"}, {"site": [None] + ["a"] * 39}, "site has no value in 1 row (first: row 1)"),
        (
            {"modalities": "prefix"},
            {},
            "prefix needs names such as nir__1100, and 850, 852, 854, ... sample (13 in all)",
        ),
        ({"drop": ["8*", "sample"]}, {}, "leaves no column of numbers to predict from"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_column_and_the_remedy(changes, column, message):
    frame = spectra()
    for name, values in column.items():
        frame[name] = values
    with pytest.raises(UsageError) as error:
        parts(frame, **changes)
    assert message in str(error.value)
    assert str(error.value).startswith("argument ")


def test_missing_values_stop_the_work_unless_rows_or_columns_may_go():
    frame = spectra()
    frame.loc[[2, 5], "854"] = np.nan
    frame.loc[0, "fat"] = np.nan  # the rows keep their numbers
    with pytest.raises(UsageError, match=r"missing values in 2 of 39 rows, 1 of 13 columns \(first: '854' in row 3\)"):
        parts(frame, clients_column="site")
    rows = parts(frame, clients_column="site", missing="rows")
    assert rows.X.index.tolist() == rows.y.index.tolist() == rows.clients.index.tolist()
    assert len(rows.X) == N - 3 and not rows.X.isna().to_numpy().any()
    columns = parts(frame, missing="columns")
    assert "854" not in columns.X and len(columns.X) == N - 1
    assert said(columns, "Left out, values missing") == "Left out, values missing: 854."
    assert parts(frame, missing="keep").X["854"].isna().sum() == 2


def test_small_clients_and_class_like_targets_are_pointed_out():
    frame = spectra()
    frame["site"] = ["rare"] + ["lab"] * 39
    frame["fat"] = np.arange(N) % 3
    found = parts(frame, clients_column="site")
    assert "rare (1)" in said(found, "Clients with fewer than 10 rows")
    assert "only 3 values: if they stand for classes" in said(found, "fat has")


def test_a_column_may_be_clients_and_groups_at_once():
    found = parts(spectra(), clients_column="site", groups_column="site")
    assert "each is predicted by models that have not seen it" in said(found, "Clients are the groups too")


def test_correlations_are_of_the_rows_with_a_value_and_of_columns_that_vary():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((30, 6)) + 5.0)
    y = pd.Series(rng.standard_normal(30)) + 0.5 * frame[0]
    frame[1] = 0.1  # sums of it round
    frame.iloc[3:9, 2] = np.nan
    frame[3] = -3 * y + 2
    found = correlations(frame, y)
    assert list(found.index) == [0, 2, 3, 4, 5]
    for j, r in found.items():
        there = frame[j].notna().to_numpy()
        assert_allclose(r, abs(np.corrcoef(frame[j][there], y[there])[0, 1]), atol=1e-12)
    assert found[3] >= LINEAR
