"""Spectra from files of instruments: what was written comes back, and what cannot be meant is refused by name."""

from __future__ import annotations

import shutil

import instrument_files as files
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat

from skfdrmfl.datasets import read_spectra

pytest.importorskip("nirs4all_formats")

NM = np.linspace(1100.0, 1180.0, 9)
WAVENUMBERS = np.linspace(9000.0, 4000.0, 9)
CURVES = np.random.default_rng(0).uniform(0.1, 0.9, (3, 9))
Y = CURVES[0]


def table(path, write):
    frame = pd.DataFrame(CURVES, columns=[f"{x:g}" for x in NM]).assign(sample=["a", "b", "c"], fat=[1.0, 2.0, 3.0])
    getattr(frame, write)(path, index=False)
    return path


def pairs(path, between, above="", decimal="."):
    lines = [f"{x:.6f}{between}{y:.9f}".replace(".", decimal) for x, y in zip(NM, Y, strict=True)]
    path.write_text(above + "\n".join(lines) + "\n")
    return path


# ------------------------------------------------------------------------------------------------ formats
@pytest.mark.parametrize(
    ("name", "write", "unit", "signal"),
    [
        ("s.jdx", lambda p: files.jcamp(p, NM, Y), "nm", "absorbance"),
        ("s.dx", lambda p: files.jcamp(p, WAVENUMBERS, Y, x_unit="1/CM", y_unit="REFLECTANCE"), "cm-1", "reflectance"),
        ("s.0", lambda p: files.opus(p, WAVENUMBERS, {"absorbance": Y}), "cm-1", "absorbance"),
        ("s.spc", lambda p: files.spc(p, NM, Y), "nm", "absorbance"),
        ("s.spc", lambda p: files.spc(p, WAVENUMBERS, Y, x_type=1), "cm-1", "absorbance"),
        ("s.asd", lambda p: files.asd(p, NM, Y), "nm", "raw"),
        ("s.tsv", lambda p: pairs(p, "\t"), "", "signal"),
        ("s.csv", lambda p: pairs(p, ","), "", "signal"),
        ("s.csv", lambda p: pairs(p, ";", "Probe;17\nnm;A\n", decimal=","), "", "signal"),
        ("s.asc", lambda p: pairs(p, "  ", "Instrument 5\n\n"), "", "signal"),
    ],
)
def test_a_spectrum_of_each_format_comes_back(tmp_path, name, write, unit, signal):
    frame = read_spectra(write(tmp_path / name))
    assert_allclose(frame.columns, WAVENUMBERS if unit == "cm-1" else NM, rtol=1e-12)
    assert_allclose(frame.loc["s"], Y, rtol=1e-7)  # formats of four bytes
    assert frame.attrs == {"unit": unit, "signal": signal}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.mat", lambda p: files.dso(p, NM, CURVES, ["a", "b", "c"])),
        ("t.mat", lambda p: files.dso(p, NM, CURVES, ["a", "b", "c"], as_object=False)),
        ("t.xlsx", lambda p: table(p, "to_excel")),
        ("t.parquet", lambda p: table(p, "to_parquet")),
        ("t.csv", lambda p: table(p, "to_csv")),
    ],
)
def test_several_spectra_in_a_file_are_rows_called_as_the_file_calls_them(tmp_path, name, write):
    frame = read_spectra(write(tmp_path / name))
    assert list(frame.index) == ["a", "b", "c"]
    assert_array_equal(frame.columns, NM)
    assert_allclose(frame, CURVES, rtol=1e-12)


def test_points_of_each_spectrum_in_an_spc_file_are_its_own_or_refused_where_the_reader_mistakes_them(tmp_path):
    frame = read_spectra(files.spc_of_own_points(tmp_path / "s.spc", [NM, NM], CURVES[:2]))
    assert_allclose(frame, CURVES[:2], rtol=1e-6)
    assert_array_equal(frame.columns, NM)
    path = files.spc_of_own_points(tmp_path / "i.spc", [NM, NM], CURVES[:2], exponent=4)
    with pytest.raises(
        ValueError, match="points of its own and whole numbers, of which the reader mistakes the points"
    ):
        read_spectra(path)


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("step", [0.0, 1.0])  # of one axis, which the reader takes for one sample, or of two
def test_blocks_of_a_jcamp_file_are_rows_and_the_dark_one_is_none(tmp_path, link, step):
    blocks = [
        files.jcamp(tmp_path / "block.dx", NM + (step if i else 0), row, title=title).read_text()
        for i, (title, row) in enumerate(zip(["b", "a", "dark current"], CURVES, strict=True))
    ]
    path = tmp_path / "all.dx"
    head = "##TITLE=all\n##JCAMP-DX=4.24\n##DATA TYPE=LINK\n##BLOCKS=3\n"
    path.write_text(head + "".join(blocks) + "##END=\n" if link else "".join(blocks[:2]))
    if step:
        with pytest.raises(ValueError, match="unlike"):
            read_spectra(path)
        return
    frame = read_spectra(path)
    assert list(frame.index) == ["b", "a"]
    assert_allclose(frame, CURVES[:2], rtol=1e-7)


def test_packed_digits_are_differences_and_a_wrong_check_value_is_refused(tmp_path):
    path = files.jcamp(tmp_path / "s.dx", np.arange(1100.0, 1160, 10), np.zeros(6))
    head, _, _ = path.read_text().replace("1e-09", "1").partition("1100.0 0")
    path.write_text(head + "1100A0J0U\n1130D0J0K0\n##END=\n")  # 10, +10 three times; 40 again, +10, +20
    assert_array_equal(read_spectra(path).loc["s"], [10, 20, 30, 40, 50, 70])
    path.write_text(head + "1100A0J0U\n1130E0J0K0\n##END=\n")
    with pytest.raises(ValueError, match="its numbers are not those it checks them by: jcamp_dif_checkpoint_mismatch"):
        read_spectra(path)


def test_rows_without_names_are_numbered_after_their_file(tmp_path):
    savemat(tmp_path / "m.mat", {"X": CURVES, "wavelengths": NM})
    same = files.dso(tmp_path / "d.mat", NM, CURVES, ["a", "a", "b"])
    frame = read_spectra([files.spc(tmp_path / "t.spc", NM, CURVES), tmp_path / "m.mat", same])
    assert list(frame.index) == ["t_1", "t_2", "t_3", "m_1", "m_2", "m_3", "d_1", "d_2", "d_3"]
    assert_allclose(frame, np.vstack([CURVES] * 3), rtol=1e-7)


def test_a_parquet_column_of_integers_is_a_wavelength_too(tmp_path):
    pd.DataFrame(CURVES, columns=[f"{x:g}" for x in NM]).assign(**{"1100": [0, 1, 1]}).to_parquet(
        tmp_path / "t.parquet"
    )
    assert_array_equal(read_spectra(tmp_path / "t.parquet")[1100.0], [0, 1, 1])


def test_a_cell_that_is_no_number_is_named_and_a_gap_is_one(tmp_path):
    frame = pd.DataFrame(CURVES, columns=[f"{x:g}" for x in NM]).astype(object)
    frame.iloc[2, 1] = None
    frame.to_csv(tmp_path / "gap.csv", index=False)
    assert read_spectra(tmp_path / "gap.csv").isna().to_numpy().nonzero() == ([2], [1])
    frame.iloc[1, 1] = "OVER"
    frame.to_csv(tmp_path / "cell.csv", index=False)
    with pytest.raises(ValueError, match="column 1110 has 'OVER' in row 2"):
        read_spectra(tmp_path / "cell.csv")


@pytest.mark.parametrize(
    ("names", "unit"),
    [
        ("1100,5;1101,0;1101,5", ""),
        ("1100.5\t1101\t1101.5", ""),
        ("1100.5 nm;1101 nm;1101.5 nm", "nm"),
        ("X1100.5;X1101;X1101.5", ""),
    ],
)
def test_names_of_columns_are_wavelengths_however_they_are_written(tmp_path, names, unit):
    between = next(mark for mark in ";\t" if mark in names)
    rows = [("sample", names, "fat"), ("007", *"1234"), ("7", *"5678")]
    (tmp_path / "t.csv").write_text("\n".join(map(between.join, rows)))
    frame = read_spectra(tmp_path / "t.csv")
    assert list(frame.columns) == [1100.5, 1101, 1101.5] and list(frame.index) == ["007", "7"]
    assert_array_equal(frame, [[1, 2, 3], [5, 6, 7]])
    assert frame.attrs["unit"] == unit


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("1100,1101,1101", "no table with wavelengths as names of columns, each once"),
        ("a_1100,a_1101,a_1102,b_1100,b_1101,b_1102", "no table with wavelengths several times"),
        ("fat_1,fat_2,fat_3", "no table with wavelengths as names"),
    ],
)
def test_names_that_are_no_single_axis_are_refused(tmp_path, names, message):
    (tmp_path / "t.csv").write_text(f"{names}\n{','.join('123456'[: names.count(',') + 1])}\n")
    with pytest.raises(ValueError, match=message):
        read_spectra(tmp_path / "t.csv")


def test_a_column_without_values_names_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text("note,1100,1101,1102,fat,probe\n,1,2,3,4,x\n,5,6,7,8,7\n")
    assert list(read_spectra(tmp_path / "t.csv").index) == ["x", "7"]


def test_of_several_sheets_none_is_guessed(tmp_path):
    frame = pd.DataFrame(CURVES, columns=NM)
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, sheet_name="may", index=False)
        frame.to_excel(book, sheet_name="june", index=False)
    with pytest.raises(ValueError, match="it has the sheets may, june; keep one in the file"):
        read_spectra(tmp_path / "t.xlsx")


def test_what_a_dataset_object_leaves_out_is_left_out(tmp_path):
    path = files.dso(tmp_path / "t.mat", NM, CURVES, ["a", "b", "c"], include=([1, 3], range(2, 10)))
    frame = read_spectra(path)
    assert list(frame.index) == ["a", "c"]
    assert_array_equal(frame.columns, NM[1:])
    assert_array_equal(frame, CURVES[[0, 2], 1:])


# ------------------------------------------------------------------------------------------------ signals
BEAMS = {"reference_spectrum": Y + 2, "sample_spectrum": Y + 1}


@pytest.mark.parametrize("order", [1, -1])
def test_an_opus_file_gives_the_absorbance_and_not_the_beam_that_stands_first(tmp_path, order):
    blocks = dict(list({**BEAMS, "absorbance": Y}.items())[::order])
    assert_allclose(read_spectra(files.opus(tmp_path / "s.0", WAVENUMBERS, blocks)).loc["s"], Y, rtol=1e-6)


@pytest.mark.parametrize(
    "blocks", [BEAMS, {"reference_spectrum": Y}, {"sample_interferogram": Y, "sample_spectrum": Y, **BEAMS}]
)
def test_beams_alone_are_not_guessed_among_but_named(tmp_path, blocks):
    path = files.opus(tmp_path / "s.0", WAVENUMBERS, blocks)
    with pytest.raises(ValueError, match="reference_spectrum.*; choose the signal by its name"):
        read_spectra(path)
    frame = read_spectra(path, signal="Reference_Spectrum")
    assert_allclose(frame.loc["s"], blocks["reference_spectrum"], rtol=1e-6)
    assert frame.attrs["signal"] == "reference_spectrum"


@pytest.mark.parametrize(("signal", "fact"), [("raman", "none"), ("single_beam", "several")])
def test_a_signal_that_a_file_lacks_is_refused_with_its_own(tmp_path, signal, fact):
    path = files.opus(tmp_path / "s.0", WAVENUMBERS, {**BEAMS, "absorbance": Y})
    with pytest.raises(ValueError, match=f"signal '{signal}' is {fact} of absorbance, reference_spectrum, sample"):
        read_spectra(path, signal=signal)


def test_the_kind_of_a_signal_names_it_too(tmp_path):
    paths = [files.jcamp(tmp_path / "a.dx", NM, Y), files.spc(tmp_path / "b.spc", NM, Y)]
    assert read_spectra(paths, signal="absorbance").shape == (2, 9)


def test_absorbance_and_reflectance_are_not_mixed(tmp_path):
    paths = [files.jcamp(tmp_path / "a.dx", NM, Y), files.jcamp(tmp_path / "b.dx", NM, Y, y_unit="REFLECTANCE")]
    with pytest.raises(ValueError, match=r"unlike signals, absorbance in .*a.dx and reflectance in .*b.dx"):
        read_spectra(paths)
    with pytest.raises(ValueError, match="unlike signals"):
        read_spectra(paths, signal="signal")


@pytest.mark.parametrize("kind", [0, 1])
def test_the_reflectance_of_an_asd_file_is_counts_over_those_of_the_reference(tmp_path, kind):
    white = np.r_[0.0, np.linspace(900, 1000, 8)]
    path = files.asd(tmp_path / "s.asd", NM, Y * 1000, kind=kind, reference=white)
    with np.errstate(divide="ignore"):
        expected = np.where(white > 0, Y * 1000 / white, np.nan)
    frame = read_spectra(path)
    assert_allclose(frame.loc["s"], expected, rtol=1e-12)
    assert frame.attrs["signal"] == "reflectance"
    assert_array_equal(read_spectra(path, signal="raw").loc["s"], Y * 1000)


def test_variables_of_one_length_are_signals_of_the_same_samples(tmp_path):
    path = files.dso(tmp_path / "t.mat", NM, CURVES, ["a", "b", "c"], variable="m5", more={"mp5": CURVES + 1})
    with pytest.raises(ValueError, match="several signals, m5, mp5"):
        read_spectra(path)
    assert_array_equal(read_spectra(path, signal="mp5"), CURVES + 1)


# --------------------------------------------------------------------------------------------------- axes
def test_points_in_the_opposite_order_are_the_same(tmp_path):
    paths = [files.jcamp(tmp_path / "a.dx", NM, Y), files.jcamp(tmp_path / "b.dx", NM[::-1], Y[::-1])]
    frame = read_spectra(paths)
    assert_allclose(frame.loc["a"], frame.loc["b"])
    assert frame.columns[0] == NM[0]


def test_unlike_axes_are_refused_with_both(tmp_path):
    paths = [files.spc(tmp_path / "a.spc", NM, Y), files.spc(tmp_path / "b.spc", NM + 1, Y)]
    with pytest.raises(ValueError, match=r"a.spc has 9 points from 1100 to 1180 nm, .*b.spc has 9 points from 1101 to"):
        read_spectra(paths)


def test_a_thousandth_of_a_step_is_no_other_axis(tmp_path):
    paths = [files.spc(tmp_path / "a.spc", NM, Y), files.spc(tmp_path / "b.spc", NM + 0.009, Y)]
    assert_array_equal(read_spectra(paths).columns, NM)
    with pytest.raises(ValueError, match="unlike"):
        read_spectra([paths[0], files.spc(tmp_path / "c.spc", NM + 0.011, Y)])


@pytest.mark.parametrize("order", [1, -1])
def test_a_common_axis_is_the_wider_spaced_in_what_all_cover_and_keeps_straight_lines(tmp_path, order):
    fine, coarse = np.linspace(1090.0, 1175.0, 171)[::order], np.linspace(1105.0, 1195.0, 10)
    paths = [files.jcamp(tmp_path / f"{i}.dx", x, 1e-3 * x - 1) for i, x in enumerate((fine, coarse))]
    with pytest.warns(UserWarning, match=r"Took 8 points from 11[07]5 to 11[07]5 nm; interpolated 1 of 2 spectra"):
        frame = read_spectra(paths, axis="common")
    points = np.linspace(1105.0, 1175.0, 8)[::order]
    assert_array_equal(frame.columns, points)
    assert_allclose(frame, [1e-3 * points - 1] * 2, rtol=1e-7)


def test_points_that_are_given_are_interpolated_to_and_not_beyond(tmp_path):
    path = files.jcamp(tmp_path / "s.dx", NM, 1e-3 * NM)
    with pytest.warns(UserWarning, match="interpolated 1 of 1"):
        frame = read_spectra(path, axis=[1103.0, 1104.5])
    assert_allclose(frame.loc["s"], [1.103, 1.1045], rtol=1e-7)
    with pytest.raises(ValueError, match="has 9 points from 1100 to 1180 nm, and 2 points from 1099 to 1104 nm are"):
        read_spectra(path, axis=[1099.0, 1104.0])


@pytest.mark.parametrize("axis", ["same", "common"])
@pytest.mark.parametrize(
    ("x", "unit", "message"),
    [(NM + 500, 3, "no range in common"), (WAVENUMBERS, 1, r"unlike units, nm in .*a.spc and cm-1 in .*b.spc")],
)
def test_axes_that_cannot_be_one_are_refused(tmp_path, axis, x, unit, message):
    paths = [files.spc(tmp_path / "a.spc", NM, Y), files.spc(tmp_path / "b.spc", x, Y, x_type=unit)]
    with pytest.raises(ValueError, match="unlike" if axis == "same" else message):
        read_spectra(paths, axis=axis)


def test_points_that_go_up_and_down_are_no_axis(tmp_path):
    (tmp_path / "s.txt").write_text("1100 0.1\n1102 0.2\n1101 0.3\n1103 0.4\n")
    with pytest.raises(ValueError, match="neither rise nor fall"):
        read_spectra(tmp_path / "s.txt")


# -------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.spc", "b.spc"], ["a", "b"]),
        (["a.0", "a.1", "b.0"], ["a.0", "a.1", "b.0"]),
        (["lab/a.spc", "mill/a.spc"], ["lab/a", "mill/a"]),
        (["lab/a.0", "lab/a.1", "mill/a.0"], ["lab/a.0", "lab/a.1", "mill/a.0"]),
    ],
)
def test_names_are_those_of_files_as_long_as_it_takes_to_tell_them_apart(tmp_path, paths, names):
    for path in paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        files.spc(tmp_path / path, NM, Y)
    assert list(read_spectra(tmp_path).index) == names


def test_names_inside_files_that_occur_twice_get_the_files_before_them(tmp_path):
    paths = [files.dso(tmp_path / f"{month}.mat", NM, CURVES, ["a", "b", "c"]) for month in ("may", "june")]
    assert list(read_spectra(paths).index)[2:4] == ["may.mat c", "june.mat a"]


def test_a_file_is_named_once(tmp_path):
    path = files.spc(tmp_path / "a.spc", NM, Y)
    with pytest.raises(ValueError, match="a.spc is named 2 times; name it once"):
        read_spectra([path, tmp_path])


# ---------------------------------------------------------------------------------------- files that are none
def test_what_is_no_spectrum_is_left_out_of_a_folder_and_said(tmp_path):
    files.spc(tmp_path / "a.spc", NM, Y)
    (tmp_path / "notes.txt").write_text("cleaned the cell\n")
    (tmp_path / "fat.csv").write_text("sample,fat,water\na,1,2\n")
    (tmp_path / ".hidden.spc").write_text("")
    with pytest.warns(UserWarning, match="^Left out, no spectra: fat.csv, notes.txt.$"):
        assert list(read_spectra(tmp_path).index) == ["a"]
    for name in "bcd":
        (tmp_path / f"{name}.txt").write_text("no numbers\n")
    with pytest.warns(UserWarning, match=r"^Left out, no spectra: b.txt, c.txt, d.txt and 2 more\.$"):
        read_spectra(tmp_path)
    with pytest.raises(ValueError, match=r"1 of 1 files cannot be read: .*notes.txt \(no format that is known\); name"):
        read_spectra(tmp_path / "notes.txt")


def test_the_header_of_an_image_gives_no_pixel_twice(tmp_path):
    CURVES.astype("<f4").tofile(tmp_path / "image.dat")
    head = "ENVI\nfile type = ENVI Standard\nsamples = 3\nlines = 1\nbands = 9\nheader offset = 0\ndata type = 4\n"
    head += "interleave = bip\nbyte order = 0\nwavelength units = Nanometers\nwavelength = {"
    (tmp_path / "image.hdr").write_text(head + ", ".join(f"{x:g}" for x in NM) + "}\n")
    frame = read_spectra(tmp_path)
    assert_allclose(frame, CURVES, rtol=1e-6)
    assert_array_equal(frame.columns, NM)


def test_files_that_fail_are_all_named_with_the_reason(tmp_path):
    whole = files.spc(tmp_path / "a.spc", NM, Y).read_bytes()
    (tmp_path / "b.spc").write_bytes(whole[:540])
    (tmp_path / "c.spc").write_bytes(b"")
    with pytest.raises(ValueError, match=r"2 of 3 files .*: b.spc \(SPC .*truncated\); c.spc \(it is empty\); mend or"):
        read_spectra(tmp_path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: None, ValueError, "has no files in it; name the folder with the spectra"),
        (
            lambda folder: (folder / "notes.txt").write_text("x"),
            ValueError,
            "no file with spectra, but notes.txt; name",
        ),
        (shutil.rmtree, FileNotFoundError, "is not there; look at the name"),
    ],
)
def test_a_folder_without_spectra_is_one_line(tmp_path, make, error, message):
    folder = tmp_path / "spectra"
    folder.mkdir()
    make(folder)
    with pytest.raises(error, match=message):
        read_spectra(folder)


def test_remarks_of_the_reader_are_passed_on(tmp_path):
    path = files.jcamp(tmp_path / "s.dx", NM, Y)
    path.write_text(path.read_text().replace("NPOINTS=9", "NPOINTS=8"))
    with pytest.warns(UserWarning, match="The reader says of .*s.dx: npoints_truncated"):
        assert read_spectra(path).shape == (1, 8)


def test_progress_counts_files(tmp_path):
    paths = [files.spc(tmp_path / f"{name}.spc", NM, Y) for name in "ab"]
    said = []
    read_spectra(paths, progress=lambda *done: said.append(done))
    assert said == [(1, 2, str(paths[0])), (2, 2, str(paths[1]))]


def test_without_the_reader_the_remedy_is_named(tmp_path, monkeypatch):
    path = files.spc(tmp_path / "a.spc", NM, Y)
    monkeypatch.setitem(__import__("sys").modules, "nirs4all_formats", None)
    with pytest.raises(ImportError, match=r"not installed; run: pip install .*nirs4all.formats"):
        read_spectra(path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"axis": "nearest"}, "axis is 'nearest'; choose 'same', 'common' or an array"),
        ({"axis": [1103.0]}, "give two or more wavelengths, each once"),
        ({"axis": [1103.0, 1104, 1104]}, "give two or more wavelengths, each once"),
        ({"axis": [1103.0, np.nan]}, "give two or more wavelengths, each once"),
    ],
)
def test_an_axis_that_is_none_is_refused(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        read_spectra(files.spc(tmp_path / "a.spc", NM, Y), **kwargs)
