"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from skfdrmfl.tables.errors import UsageError

TABLE_FILE = "table: .csv, .tsv, .txt, .parquet or .xlsx; or files of instruments"


class Parser(argparse.ArgumentParser):
    """A parser that answers a wrong argument with one line and no usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise a wrong argument as an exception, which `main` prints."""
        raise UsageError(f"{message}; see {self.prog} --help", self.prog)


def add_command(commands: Any, name: str, run: Callable[[Any], None], description: str) -> Any:
    """Return the parser of a command that has been added; the list of commands has the first sentence on it."""
    help = description.partition(". ")[0]
    parser = commands.add_parser(name, help=help[0].lower() + help[1:], description=description)
    parser.set_defaults(run=run)
    return parser


def add(parser: Any, usage: str, help: str, *, default: object = None, **kwargs: Any) -> None:
    """Add an option as `--help` shows it, such as "--seed S"; its help ends in its default, if it has one."""
    option, _, metavar = usage.partition(" ")
    shown = "" if default in (None, []) else " (default: %(default)s)"
    parser.add_argument(option, metavar=metavar or None, default=default, help=help + shown, **kwargs)


def add_names(parser: Any, usage: str, help: str) -> None:
    """Add an option that takes names, separated by commas, and may be repeated; `names_meant` splits them."""
    add(parser, usage, help, type=some_name, action="append", default=[])


def some_name(text: str) -> str:
    """Return a text that has a name between its commas."""
    if not text.strip(" ,"):
        raise argparse.ArgumentTypeError(f"{text!r} names no column")
    return text


def names_meant(texts: Sequence[str], columns: Collection[str] = ()) -> list[str]:
    """Return the names in texts, split at commas but for those with a backslash before them.

    Where columns are these, a column that has commas goes before its parts.
    """
    meant: list[str] = []
    for text in texts:
        parts = re.split(r"(?<!\\),", text)
        while parts:
            whole = (n for n in range(len(parts), 1, -1) if ",".join(parts[:n]).strip() in columns)
            n = next(whole, 1)
            meant.append(",".join(parts[:n]).replace("\\,", ",").strip())
            parts = parts[n:]
    return list(filter(None, meant))


def decimal_mark(text: str) -> tuple[str | None, str]:
    """Return the column, None for all, and the decimal mark in a text such as "," or "fat=,"."""
    name, equals, mark = text.rpartition("=")
    if mark not in (".", ",") or (equals and not name):
        raise argparse.ArgumentTypeError(f"{text!r} is none of . and , and no NAME=. or NAME=,")
    return name or None, mark


def row_of_names(text: str) -> str:
    """Return the number of a row from 1, or "none"."""
    if text != "none" and not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a line from 1, and not none")
    return text


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


def add_columns(parser: Any, *missing: str) -> None:
    """Add the options that say what the columns of a table are; `missing` are further answers to gaps."""
    group = parser.add_argument_group("what the columns are")
    add_names(group, "--target NAME", "column to predict; several: fat,water, or the option repeated")
    add(group, "--clients-column NAME", "column that says whose row it is, such as site or instrument")
    parted = "column that says which rows must not be parted, such as the sample of repeated measurements"
    add(group, "--groups-column NAME", parted)
    drop = "column to leave out, or a pattern of names such as 'lab_*'; several as for --target"
    add_names(group, "--drop NAME", drop)
    add_names(group, "--keep NAME", "column to use although it looks like a row number or like the target itself")
    add_names(
        group, "--categories NAME", "column of labels to use as a feature; without it columns of text are left out"
    )
    prefix = "columns called nir__850, raman__200, ... are the modalities nir and raman; without it all are one"
    add(group, "--modalities", prefix, choices=("prefix",))
    help = "what to do about missing values in features: stop, leave out these rows, or these columns"
    help += ", or keep rows that lack a whole modality" if "keep" in missing else ""
    add(group, "--missing", help, choices=("error", "rows", "columns", *missing), default="error")


def add_reading(parser: Any) -> None:
    """Add the options that say how a file is read."""
    group = parser.add_argument_group("how the file is read")
    separator = "between the columns of a text file; tab for a tabulator, blank for runs of blanks (default: found)"
    add(group, "--separator CHAR", separator)
    decimal = "decimal mark where a column leaves it open, as 1,234 does; fat=, is for that column; may be repeated"
    add(group, "--decimal MARK", decimal, type=decimal_mark, action="append", default=[])
    header = "line of the file (row of the sheet) that holds the names, from 1; none: no line does (default: found)"
    add(group, "--header N", header, type=row_of_names)
    group.add_argument("--transpose", action="store_true", help="the table lies on its side: a line is a column")
    add(group, "--sheet NAME", "sheet of an Excel file that has several")
    missing = "a text that stands for a missing value, such as n.d.; may be repeated"
    add(group, "--na TEXT", missing, action="append", default=[])
    only = "NA, nan, null and the like among numbers are no missing values; without it they are"
    group.add_argument("--no-default-na", dest="default_na", action="store_false", help=only)


def add_model(parser: Any) -> None:
    """Add the options that set parameters of FDRMFLTransformer."""
    group = parser.add_argument_group("FDRMFL")
    add(group, "--components C", "features a method may pass on", type=at_least(1), default=2)
    tuning = "mixture: linear models and networks, weighed by rows held out inside the clients; none: one network"
    add(group, "--tuning", tuning, choices=("mixture", "none"), default="mixture")
    any_parameter = "any parameter of FDRMFLTransformer, such as n_rounds=100 or hidden_layer_sizes=64,32; "
    add(group, "--set NAME=VALUE", any_parameter + "may be repeated", action="append", default=[])
