"""A folder of instrument files and a table of targets: rows are joined by name, and what is not is said."""

from __future__ import annotations

import json

import instrument_files as files
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skfdrmfl.cli.folder import digest, read_input
from skfdrmfl.cli.main import _parser, main
from skfdrmfl.tables.cells import numbers_of
from skfdrmfl.tables.errors import FileProblem, UsageError

pytest.importorskip("nirs4all_formats")

NM = np.linspace(1100.0, 1190.0, 10)
SITES = ("lab", "mill")


def spectrum(fat):
    return 0.1 + 0.01 * fat * np.exp(-(((NM - 1140) / 30) ** 2)) + 1e-3 * np.cos(NM * fat)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def folder(place, names, fats=None):
    for i, name in enumerate(names):
        path = place / "spectra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.spc(path, NM, spectrum(10.0 + i if fats is None else fats[i]))
    return place / "spectra"


def targets(place, name="table.csv", **columns):
    pd.DataFrame(columns).to_csv(place / name, index=False)


def read(*arguments, command="fit", record=None):
    target = () if command == "predict" else ("--target", "fat")
    given = ("spectra", *([] if "--targets" in arguments or command == "predict" else ["--targets", "table.csv"]))
    args = _parser().parse_args(
        [command, *(["out/model.npz"] if command == "predict" else []), *given, *target, *arguments]
    )
    return read_input(args.file, args, record)


def fat(frame):
    return numbers_of(frame["fat"])[0].tolist()


def said(notes, start):
    found = [note for note in notes if note.startswith(start)]
    assert len(found) == 1, notes
    return found[0]


# --------------------------------------------------------------------------------------------- names of samples
@pytest.mark.parametrize(
    ("names", "samples", "alike"),
    [
        (["a.spc", "b.spc", "c.spc"], ["c", "a", "b"], False),
        (["a.spc", "b.spc", "c.spc"], ["c.spc", "a.spc", "b.spc"], False),
        (["007.spc", "008.spc", "100.spc"], [100, 7, 8], True),
        (["1-11.spc", "11-1.spc", "111.spc"], [111, "1-11", "11-1"], False),
        (["Meat_07.spc", "Meat_08.spc", "Meat_09.spc"], ["meat 9", "meat 7", "meat 8"], True),
        (["lab/a.spc", "mill/a.spc", "mill/b.spc"], ["mill/b", "lab/a", "mill/a"], False),
    ],
)
def test_rows_are_joined_by_the_names_of_files(place, names, samples, alike):
    folder(place, names)
    targets(place, year=[1, 1, 1], probe=samples, fat=[12.0, 10.0, 11.0])
    frame, notes = read()
    assert fat(frame) == [10.0, 11.0, 12.0]
    assert_allclose(frame[[f"{x:g}" for x in NM]], [spectrum(fat) for fat in frame["fat"].astype(float)], rtol=1e-6)
    assert said(notes, "Joined").startswith("Joined by the column probe of table.csv: 3 of 3 spectra")
    assert ("alike but for case" in said(notes, "Joined")) == alike


def test_a_sample_of_each_site_is_known_by_site_and_name_together(place):
    folder(place, ["lab/1.spc", "lab/2.spc", "mill/1.spc", "mill/2.spc"])
    targets(place, sample=[1, 2, 2, 1], site=["mill", "mill", "lab", "lab"], fat=[12.0, 13.0, 11.0, 10.0])
    frame, _ = read("--clients-column", "site")
    assert fat(frame) == [10.0, 11.0, 12.0, 13.0]
    assert frame["site"].tolist() == ["lab", "lab", "mill", "mill"]


def test_a_name_of_another_site_is_not_taken_for_the_sample(place):
    folder(place, ["lab/1.spc", "lab/2.spc", "mill/1.spc"])
    targets(place, sample=[1, 2, 9], site=["lab", "lab", "mill"], fat=[10.0, 11.0, 1.0])
    frame, notes = read()
    assert fat(frame) == [10.0, 11.0]
    assert said(notes, "Left out") == "Left out, no row in table.csv: mill/1."


def test_names_that_only_share_their_digits_are_not_joined(place):
    folder(place, ["1-11.spc", "a.spc"])
    targets(place, sample=["11-1", "a"], fat=[1.0, 11.0])
    assert fat(read()[0]) == [11.0]


def test_names_that_do_not_match_are_said_on_both_sides(place):
    folder(place, ["a.spc", "b.spc", "c.spc", "notes.txt"])
    (place / "spectra" / "notes.txt").write_text("cleaned\n")
    targets(place, sample=["a", "c", "x", "y"], fat=[10.0, 12.0, 1.0, 2.0])
    frame, notes = read()
    assert fat(frame) == [10.0, 12.0]
    assert said(notes, "Left out, no row") == "Left out, no row in table.csv: b."
    assert said(notes, "Left out, no spectra") == "Left out, no spectra: notes.txt."
    assert said(notes, "Rows") == "Rows of table.csv without a spectrum: x, y."


def test_the_column_with_most_names_is_found_and_another_one_can_be_named(place):
    folder(place, ["1.spc", "2.spc", "3.spc"])
    targets(place, batch=[3, 3, 2], sample=[2, 3, 1], turn=[1, 2, 3], fat=[11.0, 12.0, 10.0])
    assert fat(read("--sample-column", "turn")[0]) == [11.0, 12.0, 10.0]
    assert fat(read()[0]) == [10.0, 11.0, 12.0]
    with pytest.raises(FileProblem, match="table.csv has several rows of 3 in batch; keep one row a sample"):
        read("--sample-column", "batch")


@pytest.mark.parametrize("names", [["a.0", "a.1", "b.0"], ["lab/a.spc", "mill/a.spc", "mill/b.spc"]])
def test_repeats_take_the_row_of_their_sample_and_a_group_is_proposed(place, names):
    folder(place, names)
    targets(place, sample=["a", "b"], fat=[10.0, 11.0])
    frame, notes = read()
    assert fat(frame) == [10.0, 10.0, 11.0]
    assert said(notes, "Samples with") == (
        "Samples with several spectra: a (2); --groups-column sample keeps them together."
    )
    frame, notes = read("--groups-column", "sample")
    assert frame["sample"].tolist() == ["a", "a", "b"]
    assert not any("several spectra" in note for note in notes)


def test_spectra_of_one_file_are_joined_by_their_own_names_or_by_the_file(place):
    (place / "spectra").mkdir()
    files.dso(place / "spectra" / "may.mat", NM, [spectrum(10.0), spectrum(11.0)], ["a", "b"])
    files.spc(place / "spectra" / "c.spc", NM, [spectrum(12.0), spectrum(12.5)])
    targets(place, sample=["c", "b", "a"], fat=[12.0, 11.0, 10.0])
    frame, _ = read()
    assert fat(frame) == [12.0, 12.0, 10.0, 11.0]


# ------------------------------------------------------------------------------------------------ columns
def test_subfolders_are_a_column_that_names_sites(place):
    folder(place, ["lab/a.spc", "mill/b.spc", "mill/old/c.spc"])
    targets(place, sample=["a", "b", "c"], fat=[10.0, 11.0, 12.0])
    frame, notes = read("--clients-column", "folder")
    assert frame["folder"].tolist() == ["lab", "mill", "mill/old"]
    assert said(notes, "Subfolders").startswith("Subfolders and their spectra: lab (1), mill (1), mill/old (1);")


def test_other_columns_of_the_table_are_features_only_if_asked_for(place):
    folder(place, ["a.spc", "b.spc"])
    targets(place, sample=["a", "b"], fat=[10.0, 11.0], water=[70.0, 69.0], ph=[5.0, 6.0])
    frame, notes = read("--keep", "ph")
    assert list(frame.columns) == ["fat", "ph", *(f"{x:g}" for x in NM)]
    assert said(notes, "Not used") == "Not used, of table.csv: sample, water; --keep NAME takes one for a feature."


def test_a_name_that_is_misspelt_is_answered_with_the_table_s_own(place):
    folder(place, ["a.spc", "b.spc"])
    targets(place, sample=["a", "b"], fat=[10.0, 11.0], site=["lab", "mill"])
    frame, _ = read("--clients-column", "sit")
    assert "site" in frame


def test_marks_of_missing_values_and_decimals_are_those_of_the_table(place):
    folder(place, ["a.spc", "b.spc", "c.spc"])
    targets(place, sample=["a", "b", "c"], fat=["n.d.", "1,234", "12,5"])
    frame, _ = read("--na", "n.d.", "--decimal", "fat=,")
    values, odd = numbers_of(frame["fat"])
    assert_allclose(values, [np.nan, 1.234, 12.5])
    assert not len(odd) and frame.attrs["signal"] == "absorbance"


def test_the_name_with_the_subfolder_goes_before_that_without(place):
    folder(place, ["lab/a.spc", "mill/a.spc"])
    targets(place, sample=["a", "lab/a"], fat=[11.0, 10.0])
    assert fat(read()[0]) == [10.0, 11.0]


def test_names_with_zeros_before_them_are_told_from_those_without(place):
    folder(place, ["07.spc", "7.spc"])
    targets(place, sample=["7", "07"], fat=[11.0, 10.0])
    frame, _ = read("--keep", "sample")
    assert fat(frame) == [10.0, 11.0] and frame["sample"].tolist() == ["07", "7"]


# ---------------------------------------------------------------------------------------- a model's own axis
@pytest.mark.parametrize("name", ["{:g} nm", "X{:g}", "nir__{:g}"])
def test_names_of_a_model_are_points_however_they_are_written(place, name):
    folder(place, ["a.spc"])
    features = [name.format(x) for x in NM[::-1]]
    frame, _ = read(command="predict", record={"features": ["ph", *features]})
    assert list(frame.columns) == ["spectrum", *features]
    assert_allclose(frame[features].to_numpy()[0], spectrum(10.0)[::-1], rtol=1e-6)


@pytest.mark.parametrize(
    "record", [{"features": [f"{x:g} cm-1" for x in NM]}, {"features": [f"{x:g}" for x in NM], "unit": "cm-1"}]
)
def test_points_in_another_unit_than_the_model_s_are_refused(place, record):
    folder(place, ["a.spc"])
    with pytest.raises(FileProblem, match="spectra has spectra over nm, and the model's are over cm-1; convert them"):
        read(command="predict", record=record)


def test_new_files_take_the_axis_of_the_model_and_its_signal(place):
    folder(place, ["a.spc"])
    record = {"features": [f"{x:g}" for x in NM], "signal": "absorbance"}
    frame, _ = read(command="predict", record=record)
    assert list(frame.columns) == ["spectrum", *record["features"]]
    files.spc(place / "spectra" / "b.spc", np.linspace(1090.0, 1200.0, 23), np.linspace(0.0, 1.1, 23))
    with pytest.raises(
        FileProblem, match=r"what is asked for has 10 points from 1100 to 1190 nm, .*b.spc has 23 points"
    ):
        read(command="predict", record=record)
    frame, notes = read("--axis", "common", command="predict", record=record)
    assert_allclose(frame.loc[1, record["features"]].tolist(), np.linspace(0.1, 1.0, 10), rtol=1e-6)
    assert said(notes, "Took").endswith("interpolated 1 of 2 spectra.")
    with pytest.raises(FileProblem, match="signal 'raw' is none of absorbance"):
        read(command="predict", record=record | {"signal": "raw"})


# ---------------------------------------------------------------------------------------------- one line each
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "spectra", "--target", "fat"], "--targets: none names the table with the measured values; pass"),
        (
            ["fit", "table.csv", "--target", "fat", "--axis", "common"],
            "--axis: common is for files of instruments, and",
        ),
        (["compare", "--signal", "raw"], "--signal: raw is for files of instruments; leave it out"),
        (
            ["fit", "spectra", "--targets", "table.csv", "--target", "fat", "--sample-column", "x"],
            "is no column of table",
        ),
        (["fit", "spectra", "--targets", "gone.csv", "--target", "fat"], "gone.csv is not there"),
        (["fit", "gone", "--targets", "table.csv", "--target", "fat"], "gone is not there"),
        (["fit", "spectra", "--targets", "other.csv", "--target", "fat"], "other.csv has no column with the names of"),
    ],
)
def test_what_does_not_fit_is_one_line_with_a_remedy(place, capsys, arguments, message):
    folder(place, ["a.spc", "b.spc"])
    targets(place, sample=["a", "b"], fat=[10.0, 11.0])
    targets(place, "other.csv", sample=["x", "y"], fat=[10.0, 11.0])
    assert main(arguments) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_column_of_samples_without_a_table_is_refused(place):
    folder(place, ["a.spc"])
    with pytest.raises(UsageError, match="--sample-column: x is for a table of targets; name it with --targets too"):
        read("--sample-column", "x", command="predict", record={})


def test_a_folder_is_known_again_by_what_is_in_it(place):
    path = folder(place, ["a.spc", "b.spc"])
    first = digest(path)
    assert digest(path) == first
    (path / "a.spc").rename(path / "c.spc")
    assert digest(path) != first


def test_a_folder_is_fitted_and_predicted_and_the_table_may_lie_in_it(place, capsys):
    fats = np.random.default_rng(0).uniform(5, 30, 30)
    names = [f"{SITES[i % 2]}/{i:02d}.spc" for i in range(30)]
    folder(place, names, fats)
    targets(place / "spectra", sample=[f"{i:02d}" for i in range(30)], fat=fats)
    few = ["--tuning", "none", "--set", "n_rounds=2", "--no-figure"]
    with_targets = ["spectra", "--targets", "spectra/table.csv"]
    assert main(["fit", *with_targets, "--target", "fat", "--clients-column", "folder", *few]) == 0
    assert "2 clients: lab (15 rows), mill (15 rows)." in capsys.readouterr().out
    record = json.loads((place / "out" / "model.json").read_text())
    assert (record["signal"], record["unit"]) == ("absorbance", "nm") and record["features"] == [f"{x:g}" for x in NM]
    assert main(["predict", "out/model.npz", *with_targets, "--no-figure"]) == 0
    out = capsys.readouterr().out
    assert "the model was fitted to this very file" in out and "mill  15" in out
    assert main(["predict", "out/model.npz", "spectra/lab/00.spc", "--no-figure"]) == 0
    predicted = pd.read_csv(place / "out" / "predictions.csv")
    assert list(predicted.columns)[:3] == ["spectrum", "predicted_fat", "T2"] and len(predicted) == 1


def test_a_folder_that_holds_the_table_alone_is_one_line(place):
    (place / "spectra").mkdir()
    targets(place / "spectra", sample=["a"], fat=[1.0])
    with pytest.raises(FileProblem, match="spectra has no files in it; name the folder"):
        read("--targets", "spectra/table.csv")


def test_reading_many_files_shows_progress(place, capsys):
    folder(place, [f"{i}.spc" for i in range(50)])
    targets(place, sample=range(50), fat=range(50))
    read()
    assert "50/50" in capsys.readouterr().err
