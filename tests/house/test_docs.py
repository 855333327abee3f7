"""The documentation holds: its blocks run and give what they say, its links lead somewhere, its names exist."""

import ast
import csv
import importlib
import re
import tomllib
from pathlib import Path
from pkgutil import iter_modules, walk_packages

import pytest
import sklearn

import skfdrmfl
from skfdrmfl import FDRMFLTransformer

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("*.md", "docs/**/*.md", "benchmarks/*.md", "studies/**/*.md")
PAGES = sorted(path for folder in FOLDERS for path in ROOT.glob(folder) if path.is_file())
# Every module by the name of its file: pages name places as `file.function`.
MODULES = {module.name.rpartition(".")[2]: module.name for module in walk_packages(skfdrmfl.__path__, "skfdrmfl.")}
MODULES.pop("torch")  # pages mean the library


@pytest.fixture(params=PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def page(request):
    return request.param


def blocks(page, language):
    """Line number and text of each fenced block."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text[: match.start()].count("\n") + 2, match[1]


def prose(page):
    """The text without fenced blocks, in which brackets mean other things."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run(code, first_line, page, names):
    """Run a block; where a statement is followed by "# -> value", it must be an expression with that value."""
    source = "\n" * (first_line - 1) + code
    lines = source.splitlines()
    n_checked = 0
    statements = ast.parse(source).body
    for statement in statements:
        # The comment stands at the end of the statement's last line, or alone on the next.
        end = statement.end_lineno
        tail = lines[end - 1][statement.end_col_offset :]
        below = lines[end] if end < len(lines) and lines[end].startswith("# -> ") else ""
        said = re.search(r"#.*?-> (.*)", tail) or re.match(r"# -> (.*)", below)
        where = f"{page.name}:{statement.lineno}"
        if said is None:
            exec(compile(ast.Module([statement], []), where, "exec"), names)
        else:
            assert isinstance(statement, ast.Expr), f"{where} says '->' but is no expression"
            value = eval(compile(ast.Expression(statement.value), where, "eval"), names)
            assert repr(value) == said[1].strip(), where
            n_checked += 1
    return n_checked


@pytest.fixture
def two_rounds(monkeypatch):
    """What a page says of a model does not depend on how long it trains."""
    monkeypatch.setitem(FDRMFLTransformer.__init__.__kwdefaults__, "n_rounds", 2)
    yield
    assert FDRMFLTransformer(tuning=None).n_rounds == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/recipes.md"])
def test_the_blocks_run_and_give_what_they_say(name, two_rounds):
    names, n_checked = {"__name__": "documentation"}, 0
    with sklearn.config_context():
        for first_line, code in blocks(ROOT / name, "python"):
            n_checked += run(code, first_line, ROOT / name, names)
    assert n_checked >= 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of two rounds only
def test_the_first_guide_runs_in_the_order_in_which_it_is_read(two_rounds, monkeypatch, tmp_path):
    """Its commands too: they read the tables that its first block writes, and the files of one another."""
    from skfdrmfl.cli.main import main

    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "spectra.md"
    names, n_checked, n_commands = {"__name__": "documentation"}, 0, 0
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
        if language == "python":
            n_checked += run(code, 1, page, names)
        else:
            for command in code.splitlines():
                assert main(command.removeprefix("skfdrmfl ").split()) == 0, command
                n_commands += 1
    assert n_checked >= 4 and n_commands == 4
    for name in ("compare.json", "compare.png", "model.npz", "predictions.csv", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 0, name


def test_a_wrong_value_in_a_block_is_found():
    page = Path("page.md")
    assert run("x = 1\nx + 1  # two -> 2\n", 1, page, {}) == 1
    with pytest.raises(AssertionError, match=r"page\.md:2"):
        run("x = 1\nx + 1\n# -> 3\n", 1, page, {})


def test_python_blocks_of_other_pages_are_python(page):
    for first_line, code in blocks(page, "python"):
        compile("\n" * (first_line - 1) + code, str(page), "exec")


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name} links to {target}"
        assert ROOT in there.parents, f"{page.name} links to {target}, outside the repository"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}"


def resolve(name):
    """What a dotted name stands for, from the package down."""
    first, *rest = name.split(".")
    thing = importlib.import_module(MODULES[first])
    for part in rest:
        thing = getattr(thing, part)
    return thing


def test_code_places_that_are_named_exist(page):
    """Names such as `losses.info_nce`, `skfdrmfl.metrics.rpd` and `partition.py`."""
    for name in re.findall(r"`([\w.]+?)(?:\(\))?`", prose(page)):
        first, *rest = name.removeprefix("skfdrmfl.").split(".")
        if name.startswith("skfdrmfl.") and first not in MODULES:
            assert hasattr(skfdrmfl, first), f"{page.name} names {name}"
        elif rest and first in MODULES and rest not in (["py"], ["c"], ["json"], ["png"]):
            resolve(".".join([first, *rest]))


def test_the_first_commands_of_the_readme_are_the_two_that_set_up():
    _, code = next(blocks(ROOT / "README.md", "sh"))
    assert [line.split("#")[0].split() for line in code.splitlines()] == [["make", "demo"], ["make", "test"]]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for path in ROOT.glob("docs/*.md"):
        assert path.name == "index.md" or f"({path.name})" in index


def test_every_public_name_is_in_the_api_reference():
    """By module, as `currentmodule` has it there; and nothing stands there that is not public."""
    listed = {}
    for _, code in blocks(ROOT / "docs" / "api.md", "{eval-rst}"):
        (module,) = re.findall(r"currentmodule:: (\S+)", code)
        listed[module] = set(re.findall(r"^   (\w+)$", code, re.MULTILINE))
    for found in iter_modules(skfdrmfl.__path__, "skfdrmfl."):
        if found.name == "skfdrmfl.flower":  # which cannot be imported without Flower; its page has both names
            for page in ("api.md", "run_a_site.md"):
                text = (ROOT / "docs" / page).read_text(encoding="utf-8")
                assert "client_app" in text and "server_app" in text
        elif not found.name.rpartition(".")[2].startswith("_"):
            public = set(getattr(importlib.import_module(found.name), "__all__", ()))
            assert listed.get(found.name, set()) == public, found.name
    assert listed["skfdrmfl"] == set(skfdrmfl.__all__) - {"__version__"}


def test_the_themes_of_the_api_reference_hold_every_parameter_once():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = text.partition("| theme | parameters |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(FDRMFLTransformer(tuning=None).get_params(deep=False))


def test_the_citation_and_the_package_say_the_same():
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors", "type"} <= set(citation)
    assert citation["version"] == skfdrmfl.__version__
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]
    assert citation["license"] == project["license"]
    assert "2512.02076" in citation["references"][0]["url"]
    assert project["urls"]["Paper"] == citation["references"][0]["url"]


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "data").rglob("*.csv")), ids=lambda path: path.stem)
def test_every_table_of_the_documentation_is_a_table_and_is_linked(path):
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) > 1 and {len(row) for row in rows} == {len(rows[0])}
    name = path.relative_to(ROOT / "docs").as_posix()
    links = [link for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))]
    assert any(link in (name, f"docs/{name}", f"../docs/{name}") for link in links), name


def test_every_figure_is_shown_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (ROOT / "docs" / "figures").iterdir():
        assert f"figures/{path.name})" in text, path.name


def test_the_changelog_has_this_version():
    assert f"## [{skfdrmfl.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
