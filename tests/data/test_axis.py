"""Laws of axes: what a name says, and when names are an axis."""

from __future__ import annotations

import numpy as np
import pytest

from skfdrmfl.data.axis import axes_of, axis_of, label_of, place_of, unit_of, wavelength_of


@pytest.mark.parametrize(
    "name",
    [
        *(
            1100,
            np.int64(1100),
            1100.0,
            np.float32(1100),
            "1100",
            "1100.0",
            "1100,0",
            "1.100000e+03",
            "+1100",
            " 1100 ",
        ),
        *(
            "1100 nm",
            "1100nm",
            "1100_nm",
            "1100 [nm]",
            "1100 cm-1",
            "1100 cm^-1",
            "1100 cm⁻¹",
            "1100 (cm−1)",
            "1100 1/cm",
        ),
        *(
            "1100 µm",
            "1100 μm",
            "X1100",
            "X1100.nm",
            "X1100.cm.1",
            "NIR.1100 nm",
            "Abs@1100",
            "reflectance_1100",
            "w1100",
        ),
        *("nir__1100", "raman__1100 cm-1", "nir-1100", ("nir", 1100), ("site", "nir", "1100 nm"), np.str_("1100")),
    ],
)
def test_all_ways_to_write_a_wavelength_give_its_number(name):
    assert wavelength_of(name) == 1100.0


@pytest.mark.parametrize("name", ["1100.5", "1100,5", "nir__1100.5", "Abs@1100,5 nm", 1100.5, "1.1005e3"])
def test_fractions_are_read_with_either_mark(name):
    assert wavelength_of(name) == 1100.5


@pytest.mark.parametrize("name", ["raman__-200", "-200", "−200", ("raman", -200)])
def test_a_sign_counts_where_it_stands_alone_before_the_number(name):
    assert wavelength_of(name) == -200.0


@pytest.mark.parametrize(
    "name",
    [
        *("fat", "pH", "protein, %", "1100 fat", "1100%", "2019-05-01", "1.2.3", "", "nir__", "nan", "inf", "1e999"),
        *(True, np.True_, np.nan, np.inf, None, (), ("nir",), b"1100", 1j),
    ],
)
def test_what_gives_no_number_gives_no_position(name):
    assert wavelength_of(name) is None


def test_an_axis_is_the_positions_in_the_order_of_the_columns():
    np.testing.assert_array_equal(axis_of(["1100", "1102.5", "1105"]), [1100, 1102.5, 1105])
    np.testing.assert_array_equal(axis_of([4000, 3996, 3992]), [4000, 3996, 3992])  # a spectrum may run downwards
    np.testing.assert_array_equal(axis_of([1102, 1100, 1101]), [1102, 1100, 1101])
    np.testing.assert_array_equal(axis_of([("nir", 1100), ("nir", 1102), ("raman", 200)]), [1100, 1102, 200])
    np.testing.assert_array_equal(axis_of(["nir__1100 nm", "raman__200 cm-1", "raman__1100 cm-1"]), [1100, 200, 1100])


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", ["{}", "x{}", "X{}", "feature_{}", "V{}", "nir__{}"])
def test_default_names_are_no_axis_in_any_order(name, start):
    names = [name.format(i + start) for i in range(7)]
    assert axis_of(names) is None
    assert axis_of(names[::-1]) is None
    assert axis_of([i + start for i in range(7)]) is None
    assert axis_of([f"{i + start} nm" for i in range(7)]) is not None  # a unit is no default


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["1100", "fat"],
        ["1100", 1100.0],
        ["1100 nm", "1102"],
        ["1100 nm", "1102 cm-1"],
        ["abs_1100", "abs_1102", "ref_1104"],
        ["nir__1100", "1102"],
        ["vitamin_b6", "vitamin_b12"],
    ],
)
def test_names_of_other_kinds_or_twice_the_same_are_no_axis(names):
    assert axis_of(names) is None


def test_a_unit_is_that_of_all_names():
    assert unit_of(["1100 nm", "1102nm"]) == "nm"
    assert unit_of(["1.1 μm", "1.2 um"]) == "µm"
    assert unit_of(["1100", "1102"]) is None
    assert unit_of(["1100 nm", "1102"]) is None
    assert label_of(["1100 nm", "1102nm"]) == "wavelength, nm"
    assert label_of(["nir__1100 nm", "raman__200 cm⁻¹"]) == "wavelength or wavenumber, nm or cm-1"
    assert label_of(["100 m/z", "101 m/z"]) == "m/z"


def test_modality_and_prefix_are_told_apart():
    assert place_of("X1100") == place_of("1100") == place_of(1100)  # R's X is no prefix
    assert place_of("nir__abs_1100 nm") == (1100.0, "nir", "abs", "nm")
    assert place_of(("nir", "Abs@1100")) == (1100.0, "nir", "abs", None)


def test_the_axes_of_a_table_are_told_apart_by_prefix_and_unit_and_counted_names_are_none():
    names = [
        "fat_1",
        "nir_1100",
        "fat_2",
        "nir_1102",
        "fat_3",
        "nir_1104",
        "400 cm-1",
        "vitamin_b6",
        "402 cm-1",
        "404 cm-1",
    ]
    assert axes_of(names) == [["nir_1100", "nir_1102", "nir_1104"], ["400 cm-1", "402 cm-1", "404 cm-1"]]
    assert axes_of(["1100", "1102", "fat"]) == []
