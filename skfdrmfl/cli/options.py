"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from skfdrmfl.cli.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser that answers a wrong argument with one line and no usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise a wrong argument as an exception, which `main` prints."""
        raise UsageError(f"{self.prog}: error: {message}; see {self.prog} --help")


def add(parser: Any, option: str, *, default: object = None, help: str, **kwargs: Any) -> None:
    """Add an option whose help ends in its default, if it has one."""
    shown = "" if default in (None, []) else " (default: %(default)s)"
    parser.add_argument(option, default=default, help=help + shown, **kwargs)


def at_least(least: int) -> Callable[[str], int]:
    """Return a type for argparse: an integer of `least` or more."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of {least} or more")
        return value

    return integer


class Names(argparse.Action):
    """Column names, separated by commas, in an option that may be repeated.

    A name that has a comma itself is written with a backslash before it.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Append the names to those of earlier options."""
        parts = values.replace("\\,", "\0").split(",")
        names = [name for part in parts if (name := part.replace("\0", ",").strip())]
        if not names:
            parser.error(f"argument {option_string}: {values!r} names no column")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *names])


def add_target(parser: Any, help: str) -> None:
    """Add the option that names the columns with measured values."""
    add(parser, "--target", metavar="NAME", action=Names, default=[], help=help)


def add_clients_column(parser: Any, more: str) -> None:
    """Add the option that names the column of clients; `more` ends its help."""
    add(parser, "--clients-column", metavar="NAME", help=f"column that says whose row it is, {more}")


def add_columns(parser: Any) -> None:
    """Add the options that say what the columns of a table are."""
    group = parser.add_argument_group("what the columns are")
    add_target(group, "column to predict; several: fat,water, or the option repeated")
    add_clients_column(group, "such as site or instrument")
    add(
        group,
        "--groups-column",
        metavar="NAME",
        help="column that says which rows must not be parted, such as the sample of repeated measurements",
    )
    add(
        group,
        "--drop",
        metavar="NAME",
        action=Names,
        default=[],
        help="column to leave out, or a pattern of names such as 'lab_*'; several as for --target",
    )
    add(
        group,
        "--keep",
        metavar="NAME",
        action=Names,
        default=[],
        help="column to use although it looks like a row number or like the target itself",
    )
    add(
        group,
        "--categories",
        metavar="NAME",
        action=Names,
        default=[],
        help="column of labels to use as a feature; without it columns of text are left out",
    )
    add(
        group,
        "--modalities",
        choices=("prefix",),
        help="columns called nir__850, raman__200, ... are the modalities nir and raman; without it all are one",
    )


def add_reading(parser: Any) -> None:
    """Add the options that say how a file is read."""
    group = parser.add_argument_group("how the file is read")
    add(group, "--separator", metavar="CHAR", help="between the columns of a CSV; tab for a tabulator (default: found)")
    add(group, "--decimal", choices=(".", ","), help="decimal mark of a CSV (default: found)")
    add(group, "--sheet", metavar="NAME", help="sheet of an Excel file that has several")
    add(
        group,
        "--na",
        metavar="TEXT",
        action="append",
        default=[],
        help="a text that stands for a missing value, such as n.d.; may be repeated",
    )


def add_missing(parser: Any, *more: str) -> None:
    """Add the option that says what becomes of missing values; `more` are further answers."""
    add(
        parser,
        "--missing",
        choices=("error", "rows", "columns", *more),
        default="error",
        help="what to do about missing values in features: stop, leave out these rows, or these columns"
        + (", or keep rows that lack a whole modality" if "keep" in more else ""),
    )


def add_model(parser: Any) -> None:
    """Add the options that set parameters of FDRMFLTransformer."""
    group = parser.add_argument_group("FDRMFL")
    add(group, "--components", type=at_least(1), default=2, metavar="C", help="features a method may pass on")
    add(group, "--tuning", choices=("auto",), help="choose shrinkage, decay and a share of ridge inside the clients")
    add(
        group,
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any parameter of FDRMFLTransformer, such as n_rounds=100 or hidden_layer_sizes=64,32; may be repeated",
    )
