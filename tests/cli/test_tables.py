"""Tables from files: what is found in them is said, what cannot be meant is refused, nothing is guessed in silence."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from io import StringIO
from mmap import mmap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from skfdrmfl.cli.columns import divide
from skfdrmfl.cli.folder import read_input
from skfdrmfl.cli.options import Parser, add_columns, names_meant
from skfdrmfl.cli.reading import read_table
from skfdrmfl.common import spill
from skfdrmfl.common.extras import MissingExtra
from skfdrmfl.tables import cells
from skfdrmfl.tables.cells import KEY, Marks, numbers_of, rule_of, text_of
from skfdrmfl.tables.errors import FileProblem, UsageError
from skfdrmfl.tables.hints import LINEAR, correlations

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


@pytest.mark.parametrize("index", [None, "named", "numbers"])
def test_a_large_parquet_file_is_read_by_row_groups_into_a_file_to_the_same_frame(tmp_path, monkeypatch, index):
    pytest.importorskip("pyarrow")
    frame = spectra().astype({"850": "float32"})
    numbers = np.arange(N)
    frame["whole"] = numbers.astype("int16")
    frame["gaps"] = pd.array(np.where(numbers % 3, numbers, None), dtype="Int64")
    frame["holes"] = np.where(numbers % 5, numbers / 4, np.nan)
    frame["kind"] = frame["site"].astype("category")
    frame["high"] = frame["fat"] > 0
    frame["day"] = pd.date_range("2020", periods=N)
    if index is not None:
        frame.index = pd.Index([f"row {i}" for i in numbers], name="id") if index == "named" else 2 * numbers
    path = tmp_path / "table.parquet"
    frame.to_parquet(path, row_group_size=7)
    expected, notes = read(path)
    monkeypatch.setattr(spill, "SPILL_BYTES", 0)
    found, again = read(path)
    assert_frame_equal(found, expected)
    assert again == notes
    assert isinstance(_owner(found["852"]), mmap)
    parts = [divide(table, options(drop=["day", "gaps", "holes"])) for table in (found, expected)]
    assert_frame_equal(parts[0].X, parts[1].X)
    assert isinstance(_owner(parts[0].X), mmap)


def _owner(values):
    """What the memory of values belongs to."""
    owner = values.to_numpy()
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner


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
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match='table.csv needs pandas, which is not installed; run: pip install "pandas'):
        read(tmp_path / "table.csv")


def test_where_flower_runs_without_pyarrow_a_table_says_the_same(tmp_path, monkeypatch):
    spectra().to_csv(tmp_path / "table.csv", index=False)
    pytest.importorskip("pyarrow")
    with_arrow = parts(read(tmp_path / "table.csv")[0]).X
    for name in ("csv", "compute"):  # pandas needs the rest
        monkeypatch.delattr(f"pyarrow.{name}", raising=False)
        monkeypatch.setitem(sys.modules, f"pyarrow.{name}", None)
    pd.testing.assert_frame_equal(parts(read(tmp_path / "table.csv")[0]).X, with_arrow)


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


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_index_that_pandas_writes_with_some_rows_of_a_table_is_no_feature(tmp_path, suffix):
    pytest.importorskip("pyarrow")
    some = spectra().sample(20, random_state=0)  # as train_test_split draws them
    path = tmp_path / f"table.{suffix}"
    {"csv": some.to_csv, "parquet": some.to_parquet}[suffix](path)
    frame = read(path)[0]
    found = parts(frame)
    assert list(found.X.columns) == [*spectra().columns[:12], "sample"]
    assert f"rows: {frame.columns[0]}; --keep" in said(found, "Left out, numbers the rows")
    measured = frame.assign(index=np.repeat(np.arange(10), 2), depth=2 * np.arange(20))  # what is no number of rows
    assert {"index", "depth"} <= set(parts(measured).X)


def test_a_column_of_whole_spectra_is_an_error_and_no_text(tmp_path):
    pytest.importorskip("pyarrow")
    frame = spectra()[["fat", "site"]].assign(spectrum=spectra().iloc[:, :12].to_numpy().tolist(), t=1.5 * np.arange(N))
    frame.to_parquet(tmp_path / "table.parquet")
    table = read(tmp_path / "table.parquet")[0]
    with pytest.raises(UsageError, match="several values in each cell of spectrum, .* write each .* --drop spectrum"):
        parts(table)
    assert list(parts(table, drop=["spectrum"]).X) == ["t"]


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
        ({}, {"fat": ["1.5"] * 39 + ["n.d."]}, "1 value that is no number, such as 'n.d.' in row 40"),
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


# --------------------------------------------------------------------------------------------------- what cells say
COMMA = "a decimal comma"


def of_texts(texts, **marks):
    """What a column of texts says: its numbers, its rule, and the cells that are none."""
    column = pd.Series(pd.array(texts, dtype="string"), name="fat")
    column.attrs[KEY] = Marks(**marks)
    numbers, odd = numbers_of(column)
    return numbers.tolist(), str(rule_of(numbers)), odd.tolist()


@pytest.mark.parametrize(
    ("texts", "numbers", "rule"),
    [
        (["0.5", "-1.25", "+3", ".5", "5.", "1e3", "1E-2"], [0.5, -1.25, 3, 0.5, 5, 1000, 0.01], ""),
        (["0,5", "-1,25", "3", "1,2E-3"], [0.5, -1.25, 3, 0.0012], COMMA),
        (["1,234.5", "1,000,000", "7"], [1234.5, 1e6, 7], "commas between thousands"),
        (["1.234,5", "7,25"], [1234.5, 7.25], f"{COMMA} and points between thousands"),
        (["1.234.567", "1.234"], [1234567, 1234], "points between thousands"),
        (
            ["1 234,5", "1\u00a0234,5", "1\u202f234"],
            [1234.5, 1234.5, 1234],
            "a decimal comma and blanks between thousands",
        ),
        (["1'234.5", "1\u2019000"], [1234.5, 1000], "apostrophes between thousands"),
        (["12.5%", "3 %"], [12.5, 3], "a percent sign, 12.5% read as 12.5"),
        (["1.5D+02", "2.5d-1"], [150, 0.25], ""),
        (["\u22121.5", "\u20132"], [-1.5, -2], ""),
        (["'1.5", ' "2.5" ', '="3.5"', "\u00a04.5\u00a0", "\ufeff5.5"], [1.5, 2.5, 3.5, 4.5, 5.5], ""),
        (["0.1", "NA", None, " ", "nan", "2"], [0.1, np.nan, np.nan, np.nan, np.nan, 2], ""),
        (["0,1", "#N/A", "2"], [0.1, np.nan, 2], COMMA),
        (["0.30000000000000004", "9007199254740993"], [0.1 + 0.2, 9007199254740992.0], ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("arrow", [True, False])
def test_whatever_is_written_for_a_number_is_that_number(monkeypatch, texts, numbers, rule, arrow):
    if not arrow:
        monkeypatch.setattr(cells, "_quick_numbers", lambda column, marks: None)
    found, how, odd = of_texts(texts)
    np.testing.assert_array_equal(found, numbers)
    assert (how, odd) == (rule, [])


NONE = "<0.05|>100|0.4l2|OVER|#DIV/0!|n.d.|-|inf|-Infinity|1_0|0x1F|1e999|01.02.2024|1.2.3|1e|(1.5)|1.5 mg|\uff11|1,5"


@pytest.mark.parametrize("cell", [*NONE.split("|"), "TRUE", "--1", "1.5%", "1 2"])
def test_a_cell_that_is_no_number_is_named_whatever_else_the_column_holds(cell):
    assert of_texts(["0.5", "1.5", cell, "2.5"])[2] == [cell]
    assert of_texts(["0.5", "1.5", cell, "2.5"], missing=frozenset([cell]))[2] == []


def test_the_mark_of_a_number_is_a_question_of_its_column_and_commas_with_two_readings_are_refused():
    assert of_texts(["1,234", "0,5"])[0] == [1.234, 0.5]
    assert of_texts(["1,234", "0,123"])[0] == [1.234, 0.123]
    assert of_texts(["1,234", "1,234.5"])[0] == [1234, 1234.5]
    with pytest.raises(UsageError, match=r"'1,234' with .* pass --decimal 'fat=\.' for 1234, --decimal fat=, for 1\."):
        of_texts(["1,234", "12,345"])
    for given in (None, "fat"):
        assert of_texts(["1,234"], decimals={given: ","})[0] == [1.234]
        assert of_texts(["1,234"], decimals={given: "."})[0] == [1234]
        assert of_texts(["1.234"], decimals={given: ","})[0] == [1234]
        assert of_texts(["0.37858", "1.234"], decimals={given: ","})[0] == [0.37858, 1.234]  # no other reading
    assert of_texts(["NA", "1"], no_number=frozenset())[2] == ["NA"]


def test_labels_are_the_text_of_the_file_from_every_format(tmp_path):
    pytest.importorskip("openpyxl")
    labels = {
        "padded": ["007", "012", None],
        "exponent": ["1E00", "2E01", "3E02"],
        "code": ["1", None, "3"],
        "site": ["NA", "None", "nan"],
        "long": ["12345678901234567890"] * 3,
        "tail": ["1.50", "2.00", "3.0"],
    }
    frame = pd.DataFrame(labels).assign(fat=[1.5, 2.5, 3.5])
    frame.to_csv(tmp_path / "table.csv", index=False)
    frame.to_excel(tmp_path / "table.xlsx", index=False)
    frame.to_parquet(tmp_path / "table.parquet")
    numbers = frame.assign(code=[1.0, np.nan, 3.0])  # as a gap makes it
    numbers.to_excel(tmp_path / "numbers.xlsx", index=False)
    numbers.to_parquet(tmp_path / "numbers.parquet")
    assert text_of(pd.Series([1.0, 2.5, 3e16, True], dtype=object)).tolist() == ["1", "2.5", "3e+16", "True"]
    for path in sorted(tmp_path.iterdir()):
        found, _ = read(path)
        for name, texts in labels.items():
            assert [None if pd.isna(text) else text for text in text_of(found[name])] == texts, (path.name, name)
        passed_on = pd.read_csv(StringIO(found.to_csv(index=False)), dtype=str, keep_default_na=False)
        assert passed_on["padded"].tolist() == ["007", "012", ""]
        assert passed_on["code"].tolist() == ["1", "", "3"]


def test_a_workbook_is_read_as_its_sheet_shows_it(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (
        ["Export"],
        [],
        ["id", "fat", "water", "ok"],
        [7, 0.07, "0,5", True],
        [8, 0.125, 0.25, False],
        [],
        ["end"],
    ):
        sheet.append(row)
    for row in (4, 5):
        sheet.cell(row, 1).number_format, sheet.cell(row, 2).number_format = "000", "0.0%"
    book.save(tmp_path / "table.xlsx")
    found, notes = read(tmp_path / "table.xlsx")
    assert text_of(found["id"]).tolist() == ["007", "008"]
    assert numbers_of(found["fat"])[0].tolist() == [7, 12.5]  # as in a CSV of the same sheet
    assert numbers_of(found["water"])[0].tolist() == [0.5, 0.25]
    assert text_of(found["ok"]).tolist() == ["TRUE", "FALSE"]
    assert "Left out before the names: 1 row, 'Export'." in notes
    sheet["B4"] = "=A4/100"
    book.save(tmp_path / "bare.xlsx")
    with pytest.raises(FileProblem, match=r"1 formula without stored values, the first in B4 \(=A4/100\); open it"):
        read(tmp_path / "bare.xlsx")


def merged_workbook(path, frame, *merged, sideways=False):
    """Write a frame, empty where `merged` cells cover it, under a first row of headings of which some are merged."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    names = list(frame.columns)
    first = [name if not name.isdigit() else "wavelength" if name == "850" else None for name in names]
    rows = [first, [int(name) if name.isdigit() else None for name in names], *frame.to_numpy(dtype=object).tolist()]
    for row in zip(*rows, strict=True) if sideways else rows:
        book.active.append(row)
    for place in merged:
        book.active.merge_cells(place)
    book.save(path)


def test_a_cell_merged_over_rows_holds_in_each_of_them(tmp_path):
    frame = spectra()[["site", "fat", *spectra().columns[:12]]].sort_values("site", ignore_index=True)
    frame["fat"] = np.repeat(frame["fat"].to_numpy()[::2], 2)  # of two scans of a sample
    scans = [f"B{3 + i}:B{4 + i}" for i in range(0, N, 2)]
    heads = ["A1:A2", "B1:B2", "C1:N1"]
    merged_workbook(tmp_path / "table.xlsx", frame, *scans, "A3:A22", "A23:A42", *heads)
    found, notes = read(tmp_path / "table.xlsx")
    assert_says(found, frame, rtol=1e-15)
    assert "Merged over rows, each of which has its value: A1, ... B41 (24 in all)." in notes
    lying = ["A3:A4", "A1:B1", "A2:B2", "C1:V1", "W1:AP1"]  # the same, rows as columns
    merged_workbook(tmp_path / "side.xlsx", frame, *lying, sideways=True)
    found, _ = read(tmp_path / "side.xlsx", transpose=True)
    assert text_of(found["site"]).tolist() == frame["site"].tolist()


def test_names_in_two_rows_that_no_merged_cell_joins_are_an_error_that_says_so(tmp_path):
    merged_workbook(tmp_path / "table.xlsx", spectra()[["fat", "site", *spectra().columns[:12]]])
    with pytest.raises(FileProblem, match=r"3 names in row 1 and 14 values in row 2; write the names .* in one row\.$"):
        read(tmp_path / "table.xlsx")


# --------------------------------------------------------------------------------------------------- layout
BODY = "site,fat,1100,1120\ns0,1.5,0.25,0.5\ns1,2.5,0.125,0.75\ns2,3.5,1.25,1.75\n"
LINES = BODY.splitlines()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("sep=,\n" + BODY, "The first line names the separator"),
        ("# exported\n# by a program\n" + BODY, "Left out before the names: 2 lines, '# exported'"),
        ("Instrument,DS2500\nOperator,x\n\n" + BODY, "Left out before the names: 2 lines, 'Instrument DS2500'"),
        ("Instrument,DS2500,,\nOperator,x,,\n,,,\n" + BODY, "Left out before the names: 2 lines"),
        ("Vision Air Export\n" + BODY, "Left out before the names: 1 line, 'Vision Air Export'"),
        (
            "".join(f"Setting {i};{i}\n" for i in range(7)) + BODY.replace(",", ";"),
            "Left out before the names: 7 lines",
        ),
        ("lab,lab,nir,nir\n" + BODY, "Left out before the names: 1 line, 'lab lab nir nir'"),
        (LINES[0] + "\n,% (w/w),log 1/R,\n" + BODY[len(LINES[0]) + 1 :], "Left out, units under the names: % (w/w), l"),
        (LINES[0] + "\n,spoons,AU,AU\n" + "\n".join(LINES[1:]), "Left out, units under the names: spoons, AU."),
        (LINES[0] + "\n,%,a.u.,a.u.\n" + "\n".join(LINES[1:]), "Left out, units under the names: %, a.u.."),
        ("# " + BODY, "The names stand in a comment: site, fat, 1100, 1120."),
        ("\n".join([*LINES[:3], LINES[0], *LINES[3:]]), "Left out 1 row that repeat the names."),
        ("".join(f"{line},,\n" for line in LINES), "Left out 2 columns without a name and values."),
        (BODY + "\nExported by x\n", "Left out, remarks: 1 line, 'Exported by x'."),
        (BODY + ",,,\nExported by x,,,\n", "Left out, remarks: 1 line, 'Exported by x'."),
        (BODY.replace("s1", "# break\ns1"), "Left out, remarks: 1 line, '# break'."),
        (
            "\n".join([LINES[0], *(f'"{i + 1}",{line}' for i, line in enumerate(LINES[1:]))]),
            "One name fewer than values",
        ),
        (BODY.replace(",", "   "), ""),
        (BODY.replace(",", ", "), ""),
        (BODY.replace("\n", "\r\n"), ""),
        (BODY.replace("\n", "\r"), ""),
        ("\ufeff" + BODY, ""),
    ],
    ids=range(22),
)
def test_what_stands_around_a_table_is_found_and_said(tmp_path, text, note):
    (tmp_path / "table.csv").write_bytes(text.encode())
    found, notes = read(tmp_path / "table.csv")
    found = found.drop(columns="Unnamed: 0", errors="ignore")
    assert list(found.columns) == ["site", "fat", "1100", "1120"]
    assert found["site"].tolist() == ["s0", "s1", "s2"]
    assert numbers_of(found["fat"])[0].tolist() == [1.5, 2.5, 3.5]
    assert numbers_of(found["1120"])[0].tolist() == [0.5, 0.75, 1.75]
    assert not note or any(line.startswith(note) for line in notes)


def test_a_row_of_dashes_and_text_is_one_of_values_and_none_of_units(tmp_path):
    (tmp_path / "table.csv").write_text(f"{LINES[0]}\ns9,n.d.,-,-\n{BODY[len(LINES[0]) + 1 :]}", encoding="utf-8")
    assert read(tmp_path / "table.csv")[0]["site"].tolist() == ["s9", "s0", "s1", "s2"]


def test_the_line_of_the_names_is_the_one_that_is_asked_for(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,c,d\n" + BODY, encoding="utf-8")
    assert list(read(path, header="2")[0].columns) == LINES[0].split(",")
    path.write_text("\n".join(LINES[1:]), encoding="utf-8")
    with pytest.raises(FileProblem, match=r"numbers in line 1, where names are expected .* pass --header none if"):
        read(path)
    found, _ = read(path, header="none")
    assert list(found.columns) == ["column_1", "column_2", "column_3", "column_4"] and len(found) == 3
    assert list(read(path, header="1")[0].columns) == ["s0", "1.5", "0.25", "0.5"]
    with pytest.raises(UsageError, match="argument --header: 9 is no line with text"):
        read(path, header="9")
    for axis in ("1100,1102,1104,1106", "1100,1450,1940,2100", "9090.909,9000,8900.5,8800"):  # is a line of names
        path.write_text(f"site,{axis}\ns0,0.5,0.25,0.75,0.5\ns1,0.6,0.5,1.75,0.5\n", encoding="utf-8")
        assert list(read(path)[0].columns) == ["site", *axis.split(",")]
    for values in ("0.5,0.6,1.75,1.9", "1,2,3,4", "0.5,0.25,0.75,0.5"):  # is none, though it may run one way
        path.write_text(f"s0,{values}\ns0,0.5,0.25,0.75,0.5\ns1,0.6,0.5,1.75,0.5\n", encoding="utf-8")
        with pytest.raises(FileProblem, match="where names are expected"):
            read(path)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_a_table_on_its_side_is_recognised_and_turned(tmp_path, suffix):
    frame, path = spectra().drop(columns=["site", "sample"]).round(5), tmp_path / f"table.{suffix}"
    turned = frame.T.set_axis([f"s{i}" for i in range(N)], axis=1)
    turned.to_csv(path) if suffix == "csv" else turned.to_excel(path)
    for target in ("fat", "Fat"):  # as a row, or with wavelengths as rows
        with pytest.raises(UsageError, match=rf"argument --target: {target} is no column .* pass --transpose"):
            read(path, target=[target])
    found, _ = read(path, transpose=True)
    assert_says(found.drop(columns="Unnamed: 0"), frame)


def test_lines_of_other_lengths_are_padded_and_said_or_refused_where_blanks_do_not_say_which(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(BODY.replace("0.125,0.75", "0.125"), encoding="utf-8")
    found, notes = read(path)
    assert found["1120"].isna().tolist() == [False, True, False]
    assert notes[-1] == "1 line with fewer values than names (first: line 3)."
    path.write_text(BODY.replace("0.125,0.75", "0.125").replace(",", " "), encoding="utf-8")
    with pytest.raises(FileProblem, match="3 values for 4 names in line 3, and blanks do not say which"):
        read(path)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("a.xlsx", {"separator": ";"}),
        ("a.csv", {"sheet": "x"}),
        ("a.parquet", {"header": "1"}),
        ("a.pq", {"transpose": True}),
    ],
)
def test_an_option_that_a_kind_of_file_has_no_use_for_is_refused(tmp_path, name, option):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=rf"argument --{next(iter(option))}: .* is not for \w+ files such as"):
        read(tmp_path / name, **option)


def test_marks_differ_by_column_in_one_file_and_columns_that_are_no_features_change_nothing(tmp_path):
    frame = spectra().round(5)
    frame["fat"] = frame["fat"].round(4)
    texts = frame.assign(fat=[f"{value}".replace(".", ",") for value in frame["fat"]], scans="1,234", year=2019)
    texts.to_csv(tmp_path / "table.csv", index=False, sep=";")
    args = options(drop=["scans"], clients_column="site")
    found = divide(read_table(tmp_path / "table.csv", args)[0], args)
    assert_allclose(found.X[frame.columns[:12]], frame.iloc[:, :12], rtol=0)
    assert_allclose(found.y["fat"], frame["fat"], rtol=0)
    assert said(found, "Numbers with") == "Numbers with a decimal comma: fat."
    with pytest.raises(UsageError, match="argument --decimal: scans has two readings"):
        divide(read(tmp_path / "table.csv")[0], options())


def test_points_before_three_digits_are_said_and_refused_beside_decimal_commas(tmp_path):
    frame = spectra().assign(ash=[f"{1 + i % 9}.{123 + i}" for i in range(N)])
    frame.astype(str).to_csv(tmp_path / "table.csv", index=False, sep=";")
    found = divide(read(tmp_path / "table.csv")[0], options())
    assert said(found, "Points before three digits, read as decimal: ash") and found.X["ash"].iloc[0] == 1.123
    frame.assign(ph=[f"{i},5" for i in range(N)]).astype(str).to_csv(tmp_path / "table.csv", index=False, sep=";")
    with pytest.raises(UsageError, match=r"column ash has points .* as ph has a decimal comma; pass --decimal \. if"):
        divide(read(tmp_path / "table.csv")[0], options())


def test_rows_of_more_values_than_names_are_said_to_have_decimal_commas(tmp_path):
    rows = [f"{'ab'[i % 2]},{10 + i},5,0,{31 + i},0,{41 + i}" for i in range(N)]  # 10,5 and 0,31 and 0,41
    (tmp_path / "table.csv").write_text("\n".join(["site,fat,850,852", *rows]), encoding="utf-8")
    said_so = "has 4 names in line 1 and 7 values in line 2; where numbers have decimal commas, save the table with ';'"
    with pytest.raises(FileProblem, match=said_so):
        read(tmp_path / "table.csv")


def test_cells_that_are_no_numbers_are_named_with_what_to_do_and_a_spectrum_holds_no_text():
    frame = spectra().astype(object)
    frame.loc[7, "852"], frame.loc[[3, 9], "856"] = "OVER", ["0.4l2", "<1"]
    with pytest.raises(UsageError) as error:
        parts(frame)
    for text in ("3 that are no numbers: 'OVER' in row 8 of 852", "'<1' in row 10 of 856", "--drop 852,856"):
        assert text in str(error.value)
    frame = spectra().astype(object)
    frame["854"] = "OVER"
    with pytest.raises(UsageError, match="has text in 1 of 12 columns that look like a spectrum"):
        parts(frame)
    frame["854"], frame["batch"] = spectra()["854"], [f"{i}" if i % 2 else f"{i}b" for i in range(N)]
    with pytest.raises(UsageError, match="'0b' in row 1 of batch.*--drop batch"):
        parts(frame)


def test_targets_of_different_rows_are_counted():
    frame = spectra().assign(water=lambda f: 70 - f["fat"])
    frame.loc[:29, "water"] = np.nan
    frame.loc[5:9, "fat"] = np.nan
    found = parts(frame, target=["fat", "water"])
    assert said(found, "Left out 30 rows") == (
        "Left out 30 rows without fat or water. Measured: fat in 35 rows, water in 10 rows, all in 10; one command for "
        "each target uses more rows."
    )
    frame.loc[30:, "fat"] = np.nan
    with pytest.raises(
        UsageError, match="fat,water are not measured together in any of 40 rows: fat in 25 rows, water"
    ):
        parts(frame, target=["fat", "water"])


def test_repeats_of_a_sample_are_noticed_and_other_labels_are_not():
    frame = spectra().drop(columns="sample").assign(scan=[f"A{i // 3}" for i in range(N)], operator=["Ann", "Bob"] * 20)
    found = parts(frame)
    assert said(found, "scan has") == (
        "scan has 14 values, each in 1 to 3 rows: if these are repeats of a sample, pass --groups-column scan, or "
        "folds part them."
    )
    assert not [note for note in found.notes if note.startswith("operator has")]
    assert not [note for note in parts(frame, groups_column="scan").notes if note.startswith("scan has")]
    whole = spectra().assign(fat=lambda f: f.groupby("sample")["fat"].transform("first"))
    assert "with one value of the target" in said(parts(whole), "sample has 10 values, each in 4 rows")


def test_a_name_with_commas_goes_before_its_parts_and_hints_can_be_pasted(tmp_path):
    parser = Parser()
    add_columns(parser)
    given = parser.parse_args(["--target", "fat, %", "--drop", "9090,909,1120", "--drop", r"a\,b", "--keep", "x,y"])
    names = ["fat, %", "fat", "%", "9090,909", "1120", "a,b", "x", "y"]
    assert names_meant(given.target, names) == ["fat, %"]
    assert names_meant(given.drop, names) == ["9090,909", "1120", "a,b"]
    assert names_meant(given.keep, names) == ["x", "y"]
    assert names_meant(given.target, names[1:]) == ["fat", "%"]
    frame = (
        spectra().rename(columns={"fat": "fat, %"}).assign(**{"Moisture [%], dry": 1.0, "it's": spectra()["852"] * 2})
    )
    frame["Moisture [%], dry"] = np.arange(N) % 7
    frame.to_csv(tmp_path / "table.csv", index=False)
    args = parser.parse_args(["--target", "fat, %"], options(target=[]))
    found = divide(read_table(tmp_path / "table.csv", args)[0], args)
    hint = said(found, "Features: 12 columns").partition(" pass ")[2]
    again = parser.parse_args(shlex.split(hint), options())
    read_table(tmp_path / "table.csv", again)
    assert again.drop == ["sample", "Moisture [%], dry", "it's"]


# ------------------------------------------------------------------------------- what stands for no value, or sums up
@pytest.mark.sampled()
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
@pytest.mark.parametrize("mark", ["-999", "-999.0", "-9.99e2"])
def test_a_number_that_means_missing_is_that_however_it_is_written(tmp_path, suffix, mark):
    frame = spectra()
    frame.loc[3, "850"] = -999
    path = tmp_path / f"table{suffix}"
    {".csv": frame.to_csv, ".xlsx": frame.to_excel, ".parquet": frame.to_parquet}[suffix](path, index=False)
    numbers, odd = numbers_of(read(path, na=[mark])[0]["850"])
    assert numbers.isna().to_numpy().nonzero()[0].tolist() == [3] and not len(odd)


@pytest.mark.parametrize("name", ["fat", "854"])
@pytest.mark.parametrize("value", [-999.0, -9999.0, 99999.0, 1e30])
def test_a_number_far_from_all_others_that_often_means_missing_is_refused_unless_kept(name, value):
    frame = spectra()
    frame.loc[[4, 9], name] = value
    with pytest.raises(UsageError, match="far from the rest; pass --na") as error:
        parts(frame)
    assert f"has {value:.15g} in 2 rows of {name} (first: row 5)" in str(error.value)
    found = parts(frame, keep=[name])
    assert (found.y if name == "fat" else found.X)[name].iloc[4] == value


def test_a_number_that_may_mean_missing_among_its_likes_is_one():
    frame = spectra()
    frame["852"] = np.linspace(-3000, 3000, N)
    frame.loc[4, "852"] = -999
    assert parts(frame).X["852"].iloc[4] == -999


@pytest.mark.sampled()
@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("words", [["mean"], ["Mittelwert", "Standardabw.", "Max."], ["Écart-type"], ["TOTAL"]])
def test_rows_that_sum_up_a_table_are_none_of_it_and_are_said(tmp_path, suffix, words):
    frame = spectra().loc[:, lambda f: ["site", *f.columns.drop("site")]]
    sums = pd.DataFrame([[word, *frame.iloc[:, 1:].mean()] for word in words])
    path = tmp_path / f"table{suffix}"
    below = pd.concat([frame, sums.set_axis(frame.columns, axis=1)])
    (below.to_csv if suffix == ".csv" else below.to_excel)(path, index=False)
    found, notes = read(path)
    assert len(found) == N and len([note for note in notes if "sum up those above" in note and words[0] in note]) == 1


def test_a_row_whose_name_others_have_is_one_whatever_it_is_called(tmp_path):
    frame = spectra().loc[:, lambda f: ["site", *f.columns.drop("site")]]
    frame["site"] = ["max", "min"] * (N // 2)
    frame.to_csv(tmp_path / "table.csv", index=False)
    assert len(read(tmp_path / "table.csv")[0]) == N


def test_columns_of_a_multiindex_are_named_as_modalities_are(tmp_path):
    frame = spectra()
    both = pd.concat({"": frame[["fat", "site"]], "nir": frame[["850", "852"]]}, axis=1)
    both.to_parquet(tmp_path / "table.parquet")
    assert list(read(tmp_path / "table.parquet")[0].columns) == ["fat", "site", "nir__850", "nir__852"]


def test_names_that_occur_twice_may_be_labels_of_a_table_on_its_side(tmp_path):
    frame = spectra().loc[:, lambda f: ["site", *f.columns.drop("site")]]
    frame.T.to_csv(tmp_path / "table.csv", header=False)
    with pytest.raises(FileProblem, match="or --transpose if the table lies on its side"):
        read(tmp_path / "table.csv")
    found, _ = read(tmp_path / "table.csv", transpose=True)
    assert_says(found, frame)


@pytest.mark.parametrize("name", ["table.xls", "table.csv.gz", "table.feather"])
def test_a_kind_of_table_that_cannot_be_read_is_told_what_can(tmp_path, name):
    (tmp_path / name).write_bytes(b"1")
    with pytest.raises(UsageError, match=r"of an instrument; save it as \.csv, \.xlsx or \.parquet if it is a table"):
        read_input(tmp_path / name, options(targets=None, sample_column=None, signal=None, axis="same"))
