"""How many small faults the tests notice: each mutant is the package with one expression or statement changed.

    python tools/mutants.py                                   # 100 of them
    python tools/mutants.py --count 30 --seed 5
    python tools/mutants.py --tests tests/server tests/method # only these tests
    python tools/mutants.py --list                            # show them and run nothing
    python tools/mutants.py --only server/trained.py:81      # all that this line can have

Mutants are drawn evenly over the rooms of the method and the federation, each put into a temporary copy of the
repository and handed to the tests that run the line it is on, the fastest first. Which these are is measured once, by
running each test file under coverage, and kept in a temporary folder until the package or that file changes.
A mutant is caught when a test fails or does not come to an end. Those that cannot be told from the package are named in
`SAME`, with the reason, and left out of the share. Exit status 1 where less than 90 % of the others are caught.

Neither mutmut 3.8 nor cosmic-ray 8.7 draws a sample: the one changes no constant of a module and no property, but every
error message, the other works in the checkout itself and runs one command for all.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import queue
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from _common import ROOT, note, table

T = TypeVar("T")
S = TypeVar("S")

PACKAGE = "skfdrmfl"
FOLDERS = ("data", "views", "method", "mixture", "protocol", "server", "engines", "clients", "fit")
WANTED = 0.90
# One test that takes longer than this hangs; so does a run of SLACK seconds more than SLOWER times what is usual.
TEST_SECONDS, SLACK, SLOWER = 120, 120, 5
MEMORY = 12 << 30  # bytes of address space, so that a mutant that asks for all there is fails

# Mutants that behave as the package does, "file: the changed lines" -> why.
_KEPT = "engines/torch.py: kept = chunk.references if chunk.reference_round == broadcast.round_index"
_UNIT = "unit[(unit <= 64 * np.finfo(np.float64).eps * np.abs(m)) | (unit <= SMALLEST_UNIT)] = 0.0"
_PULL = "np.maximum(np.linalg.norm(exact - centre, axis=1), SMALLEST_DISTANCE * unit)"
_PLAIN = "return not named and are_finite(X) and X.ndim == 3 and X.shape[1] == fitted.n_features"
_REACHED = "units = np.array([block.units for block in self.blocks.values()]).reshape(-2, 2)"
_OF_ALL = "out = np.ones((len(training.cohort.runs), values.shape[1]), values.dtype)"
_SIZE = "batch_size, _ = batches_of(client_task, network, cohort.sizes, batch_size, 2)"
_USUAL = "usual, largest = np.sqrt(self.rest / max(len(self.mean), 2)), np.abs(z).max(1, initial=0.0)"
_POWERS = "powers: ClassVar[tuple[int, ...]] = (1, 1)"
_UNITS = "return np.divide(2.0, units, out=np.zeros_like(units), where=units > 0)"
_PROBE = "return torch.as_tensor(np.random.default_rng(1).standard_normal(shape), dtype=torch.float32)"
_USES = 'uses(run.settings.terms, "references")'
_PLACE = "randomness.generator(self.seed, randomness.FOLDS, position).permutation(members.max(initial=-2) + 1)"
SAME = {
    "data/categories.py: UNSEEN, UNSEEN_MISSING = -1, -3": "any two negative numbers do",
    f"data/held_out.py: place = {_PLACE}": "of -1 places numpy permutes none, as of 0",
    f"server/aggregation/rules.py: pull = 2.0 / {_PULL}": "pulls are divided by their sum",
    "data/categories.py: nothing = BlockTransform(np.zeros(0), np.ones(0), None, 1.0)": "a power below 1 counts as 1",
    f"{_KEPT} - 2 else None": "works out again what the chunk has kept",
    f"{_KEPT} + 1 else None": "works out again what the chunk has kept",
    "engines/chunk.py: self.reference_round = 1": "nothing is kept yet, of whatever round",
    "engines/chunk.py: self.reference_round = -2": "nothing is kept yet, of whatever round",
    f"fit/check_input.py: {_PLAIN}": "scikit-learn's checks come to the same, in twice the time",
    f"method/domain.py: {_REACHED}": "numpy takes any negative length so",
    f"clients/remote/site.py: {_OF_ALL}": "what stands for runs that are not asked is not read",
    "method/equations/divergence.py: if codes.shape[-3] == 1:": "one row has no moments, and no gradient",
    "engines/torch.py: if batches and len(batches[-1]) - len(members) <= most:": "other chunks, same bits",
    f"engines/torch.py: {_SIZE}": "only the size of batches is taken, which the number of epochs does not change",
    "views/snv.py: places = (n, *(1,) * (gradients.ndim - 2), -2)": "numpy takes any negative length so",
    f"method/domain.py: {_USUAL}": "one column leaves nothing beside its axis",
    f"protocol/queries/axes.py: {_POWERS}": "a number of rows is held against that number",
    "clients/remote/exchange.py: if tries >= PATIENCE and time.monotonic() >= end:": "differs by a tick of the clock",
    f"mixture/linear.py: {_UNITS}": "one factor for all columns cancels: penalties are relative, and back it goes",
    f"encoders/_torch.py: {_PROBE}": "any random rows do",
    "protocol/queries/whitening.py: random = np.random.default_rng(1)": "any random directions do",
    f"protocol/queries/whitening.py: {_UNIT}": "differs for a deviation of 1e-300 to the last digit",
    f"mixture/forecast.py: contrasts = all({_USES} for run in runs)": "recipes differ in no weight of a term",
    "mixture/forecast.py: last = runs[1].start.last_there(n_rounds)": "all runs of a pass have one availability",
}


# ------------------------------------------------------------------------------------------ what is changed

ORDER = {ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt)}
EQUALITY = {ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,)}
COMPARISONS = ORDER | EQUALITY | {ast.In: (ast.NotIn,), ast.NotIn: (ast.In,)}
OPERATORS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}
PAIRS = ("min max", "minimum maximum", "any all", "argmin argmax", "amin amax", "clamp_min clamp_max", "zeros ones")
SWAPPED = {a: b for pair in PAIRS for a, b in (pair.split(), reversed(pair.split()))}
Changed = ast.expr | ast.stmt


def changes(node: ast.AST, argument: str | None) -> Iterator[tuple[Changed, ast.AST]]:
    """What can be changed about a node, and to what; `argument` is the first one of the function around it."""
    match node:
        case ast.Compare(left, ops, right):
            for i, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield node, ast.Compare(left, [*ops[:i], other(), *ops[i + 1 :]], right)
        case ast.BinOp(op=ast.BitOr(), right=ast.Constant(None)):
            return  # a type
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield node, ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.BoolOp(op, values):
            yield node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield node, operand
        case ast.Constant(bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield node, ast.Constant(value + 1)
        case ast.Call(ast.Attribute(attr="zeros" | "ones"), [ast.Constant(0), *_]):
            return  # zeros(0) is ones(0)
        case ast.Call(ast.Name(name) as function) if name in SWAPPED:
            yield function, ast.Name(SWAPPED[name])
        case ast.Call(ast.Attribute(value, name) as function) if name in SWAPPED:
            yield function, ast.Attribute(value, SWAPPED[name])
        case ast.Slice(lower, upper, step):
            others = ast.Slice(None, upper, step), ast.Slice(lower, None, step), ast.Slice(lower, upper, None)
            yield from ((node, other) for end, other in zip((lower, upper, step), others, strict=True) if end)
        case ast.If(test) | ast.While(test) | ast.IfExp(test) if isinstance(test, ast.Name | ast.Attribute | ast.Call):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Raise(ast.Name("NotImplementedError")):
            return  # a method that subclasses write
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise():
            yield node, ast.Pass()
        case ast.Return(ast.expr() as value) if argument is not None and ast.unparse(value) != argument:
            yield value, ast.Name(argument)


def below(node: ast.AST) -> Iterator[ast.AST]:
    """The children that are looked into: no annotations, decorators, messages, assertions, nor `if TYPE_CHECKING`."""
    match node:
        case ast.FunctionDef(args=args, body=body):
            yield from (*args.defaults, *filter(None, args.kw_defaults), *body)
        case ast.ClassDef(body=body):
            yield from body
        case ast.AnnAssign(value=value):
            yield from filter(None, [value])
        case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.keyword("strict") | ast.Assign([ast.Name("__all__")]):
            return  # zip(strict=True) is an assertion too
        case ast.If(ast.Name("TYPE_CHECKING"), orelse=other):
            yield from other
        case _:
            yield from ast.iter_child_nodes(node)


@dataclass(frozen=True)
class Mutant:
    """The bytes from `start` to `stop` of a file replaced.

    `line` is where it is reported; `lines` are those of its statement up to there; one `at_import` is in no function.
    """

    path: str
    line: int
    lines: range
    at_import: bool
    start: int
    stop: int
    new: bytes

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]

    def of(self, source: bytes) -> bytes:
        """The file's source changed."""
        return source[: self.start] + self.new + source[self.stop :]

    def shown(self, source: bytes) -> tuple[str, str]:
        """The lines it is on, before and after, as one each."""
        first, last = source.rfind(b"\n", 0, self.start) + 1, source.find(b"\n", self.stop)
        after = source[first : self.start] + self.new + source[self.stop : last]
        return " ".join(source[first:last].decode().split()), " ".join(after.decode().split())


def mutants_of(path: str, source: bytes) -> Iterator[Mutant]:
    """All mutants of a file."""
    starts = [0]
    for text in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(text))

    def visit(
        node: ast.AST, statement: ast.stmt | None = None, argument: str | None = None, at_import: bool = True
    ) -> Iterator[Mutant]:
        statement = node if isinstance(node, ast.stmt) else statement
        for old, new in changes(node, argument):
            last, end = old.end_lineno or old.lineno, old.end_col_offset or 0
            start, stop = starts[old.lineno - 1] + old.col_offset, starts[last - 1] + end
            lines = range(statement.lineno if statement else old.lineno, last + 1)
            yield Mutant(path, old.lineno, lines, at_import, start, stop, ast.unparse(new).encode())
        inside: list[ast.stmt] = []
        if isinstance(node, ast.FunctionDef):
            argument = next((a.arg for a in node.args.args if a.arg not in ("self", "cls")), None)
            inside = node.body
        for child in below(node):
            yield from visit(child, statement, argument, at_import and child not in inside)

    yield from visit(ast.parse(source))


def drawn(sources: dict[str, bytes], count: int, seed: int) -> list[Mutant]:
    """As many of each folder, and at most one a line; fewer are the first of more."""
    chosen = []
    for i, folder in enumerate(FOLDERS):
        own = [m for path, source in sources.items() if path.startswith(f"{folder}/") for m in mutants_of(path, source)]
        random.Random(f"{seed} {folder}").shuffle(own)
        by_line = {(mutant.path, mutant.line): mutant for mutant in own}
        chosen += list(by_line.values())[: count // len(FOLDERS) + (i < count % len(FOLDERS))]
    return chosen


# ----------------------------------------------------------------------------------- which tests run a line

RunsOf = dict[str, dict[str, list[int]]]  # path -> test -> lines; "" is what a test file runs outside of its tests


@dataclass(frozen=True)
class Tests:
    """What a test file took, test by test, which lines each runs, and which fail without any mutant."""

    file: str
    seconds: dict[str, float]
    runs: RunsOf
    failed: list[str]

    def of(self, mutant: Mutant) -> dict[str, float]:
        """The tests that run the mutant, or the file where it is run outside of them, and their seconds."""
        found = {
            test
            for test, lines in self.runs.get(mutant.path, {}).items()
            if mutant.at_import or not set(mutant.lines).isdisjoint(lines)
        }
        if "" in found and not self.failed:
            return {self.file: sum(self.seconds.values())}
        tests = self.seconds.keys() if "" in found else found
        return {f"{self.file}::{test}": self.seconds[test] for test in tests if test not in self.failed}


def lines_in_functions(source: bytes) -> set[int]:
    """The lines that importing a file does not run."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {line for f in functions for line in range(f.body[0].lineno, (f.end_lineno or 0) + 1)}


def measured(file: str, checkout: Path, cache: Path) -> Tests:
    """What a test file runs, measured in a copy of the repository or read from the cache."""
    shared = [*sorted((checkout / "tests").glob("*.py")), *sorted((checkout / "tests" / "oracles").glob("*.py"))]
    relevant = [*sorted((checkout / PACKAGE).rglob("*.py")), *shared, checkout / file]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in relevant)).hexdigest()[:16]
    kept = cache / f"{Path(file).stem}-{digest}.json"
    if not kept.exists():
        measure(file, checkout, kept)
    return Tests(**json.loads(kept.read_text()))


def measure(file: str, checkout: Path, kept: Path) -> None:
    """Run a test file under coverage, and write what is found to a file."""
    from coverage import CoverageData

    base = str(kept.with_suffix(""))
    options = f"[run]\ndata_file={base}.cov\nsource={PACKAGE}\ncore=ctrace\ndynamic_context=test_function\n"
    Path(f"{base}.rc").write_text(options)
    command = ["-m", "coverage", "run", f"--rcfile={base}.rc", *PYTEST, f"--junitxml={base}.xml", file]
    subprocess.run([sys.executable, *command], cwd=checkout, env=environment(checkout), stdout=subprocess.DEVNULL)
    seconds: dict[str, float] = {}
    failed = set()
    for case in ET.parse(f"{base}.xml").iter("testcase"):
        test = case.get("name", "").partition("[")[0]
        seconds[test] = seconds.get(test, 0.0) + float(case.get("time", 0.0))
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(test)
    data = CoverageData(f"{base}.cov")
    data.read()
    runs: RunsOf = {}
    for name in data.measured_files():
        inside = lines_in_functions(Path(name).read_bytes())  # none: importing the file is all there is to run
        for line, contexts in data.contexts_by_lineno(name).items():
            for test in {context.rpartition(".")[2] for context in contexts} if line in inside or not inside else ():
                path = Path(name).relative_to((checkout / PACKAGE).resolve()).as_posix()
                runs.setdefault(path, {}).setdefault(test if test in seconds else "", []).append(line)
    kept.write_text(json.dumps({"file": file, "seconds": seconds, "runs": runs, "failed": sorted(failed)}))
    for suffix in ("cov", "rc", "xml"):
        Path(f"{base}.{suffix}").unlink()


# ----------------------------------------------------------------------------------------------- running them

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]


def environment(checkout: Path) -> dict[str, str]:
    """Where the copy is the package that is imported, and nothing compiled of one mutant is left for the next."""
    here = {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_PROFILE": "deterministic"}
    return {**os.environ, **here}


def verdict(mutant: Mutant, tests: dict[str, float], checkout: Path) -> str:
    """What becomes of a mutant in a copy of the repository, which is as before afterwards: caught, hangs, survives."""
    if not tests:
        return "survives"
    limits = ["-o", f"faulthandler_timeout={TEST_SECONDS}", "-o", "faulthandler_exit_on_timeout=true"]
    command = [sys.executable, *PYTEST, "-x", *limits, *sorted(tests, key=tests.__getitem__)]
    changed = checkout / PACKAGE / mutant.path
    source = changed.read_bytes()
    changed.write_bytes(mutant.of(source))
    try:
        process = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment(checkout),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = process.wait(SLACK + SLOWER * sum(tests.values()))
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    finally:
        changed.write_bytes(source)
    if status == 5:
        raise RuntimeError(f"pytest found no test among {list(tests)}; empty the folder of --cache.")
    return "survives" if status == 0 else "caught"


def copied(folder: Path) -> Path:
    """A copy of the repository."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "out")
    return Path(shutil.copytree(ROOT, folder, ignore=left_out))


def in_copies(copies: Sequence[Path], work: Callable[[T, Path], S], tasks: Sequence[T]) -> Iterator[S]:
    """The results of `work(task, copy)`, in the order of the tasks, as many at a time as there are copies."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(task: T) -> S:
        copy = free.get()
        try:
            return work(task, copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        yield from pool.map(one, tasks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--tests", nargs="+", default=["tests"], metavar="FOLDER", help="tests to run (default: all)")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    parser.add_argument("--only", metavar="FILE:LINE", help=f"all mutants of a line; FILE is below {PACKAGE}/")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / f"{PACKAGE}-mutants", help="default: %(default)s"
    )
    options = parser.parse_args()
    root = ROOT / PACKAGE
    sources = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.py"))}
    if options.only:
        file, _, line = options.only.removeprefix(f"{PACKAGE}/").rpartition(":")
        mutants = [mutant for mutant in mutants_of(file, sources[file]) if mutant.line == int(line)]
    else:
        mutants = drawn(sources, options.count, options.seed)

    def show(mutant: Mutant, outcome: str) -> str:
        before, after = mutant.shown(sources[mutant.path])
        return f"{outcome}{PACKAGE}/{mutant.path}:{mutant.line}\n    {before}\n -> {after}"

    if options.list:
        print(*(show(mutant, "") for mutant in mutants), sep="\n")
        return 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    options.cache.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copies = [copied(Path(folder) / str(i)) for i in range(options.jobs)]
        paths = sorted({path for folder in options.tests for path in (ROOT / folder).rglob("test_*.py")})
        files = [path.relative_to(ROOT).as_posix() for path in paths]
        known = list(in_copies(copies, lambda file, copy: measured(file, copy, options.cache), files))
        for tests in known:
            if tests.failed:
                note(f"{tests.file}: without any mutant these fail, and are left out: {', '.join(tests.failed)}")
        note(f"{len(mutants)} mutants; tests measured after {time.perf_counter() - began:.0f} s")

        def outcome(mutant: Mutant, copy: Path) -> str:
            if f"{mutant.path}: {mutant.shown(sources[mutant.path])[1]}" in SAME:
                return "same"
            tests = {test: seconds for file in known for test, seconds in file.of(mutant).items()}
            start = time.perf_counter()
            result = verdict(mutant, tests, copy)
            note(show(mutant, f"{result} ({len(tests)} tests, {time.perf_counter() - start:.0f} s): "))
            return result

        results = list(in_copies(copies, outcome, mutants))

    survivors = [mutant for mutant, result in zip(mutants, results, strict=True) if result == "survives"]
    print("\nSurvivors:" if survivors else "\nNo survivors.", *(show(mutant, "") for mutant in survivors), sep="\n")
    rows, shares = [], []
    for name in (*FOLDERS, "all"):
        own = [r for mutant, r in zip(mutants, results, strict=True) if name in (mutant.folder, "all")]
        different = len(own) - own.count("same")
        caught = own.count("caught") + own.count("hangs")
        shares.append(caught / different if different else 1.0)
        rows.append([name, len(own), own.count("same"), caught, own.count("hangs"), f"{shares[-1]:.0%}"])
    print(f"\nAfter {time.perf_counter() - began:.0f} s:\n")
    print(table(["folder", "mutants", "same", "caught", "of these hang", "share"], rows))
    return 0 if shares[-1] >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
