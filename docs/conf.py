"""Settings of the site; `make docs` builds it from the repository's own Markdown, docstrings and examples.

The source folder is the root of the repository, not `docs/`: links between pages, README and benchmarks are then the
same files here and where the repository is read.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import skfdrmfl

ROOT = Path(__file__).resolve().parents[1]

project = "skfdrmfl"
author = "skfdrmfl developers"
version = release = skfdrmfl.__version__
html_title = f"{project} {version}"
project_copyright = author

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "benchmarks/**.md", "findings/**.md", "studies/**.md"]
exclude_patterns = [
    "README.md",
    "docs/_build",
    "docs/gallery/*.ipynb",
    "docs/gallery/*.py",
    ".*",
    "out",
    "build",
    "dist",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# Pages: formulas between dollars, links to headings as the repository's reader makes them.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]

# Docstrings speak plain text: what stands between single backticks is code.
default_role = "code"
autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "inherited-members": "BaseEstimator"}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {root_doc: [], "**": ["globaltoc.html"]}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "docs/method": [], "docs/clients": [], "docs/privacy": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
}

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": str(ROOT / "docs" / "gallery"),
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "plot_gallery": os.environ.get("SKFDRMFL_GALLERY", "1") == "1",
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 1,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "parallel": 2,
    "thumbnail_size": (360, 240),
    "image_srcset": ["2x"],
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"matplotlib[text, axes]",
    "backreferences_dir": None,
}
warnings.filterwarnings("error", module="skfdrmfl")

# ------------------------------------------------------------------------------------------------ the index


def sections_of(index: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings of the index with the pages that its lines link to: one line a page is all that a new page needs."""
    found = []
    for part in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        links = re.findall(r"^- \[([^\]]+)\]\(([^)#:]+?)(?:\.md|\.rst)\)", part, flags=re.MULTILINE)
        if links:
            found.append((part.partition("\n")[0], links))
    return found


def give_index_its_contents(app: Any, name: str, source: list[str]) -> None:
    """Append hidden tables of contents to the index: on a repository page they would be noise.

    The gallery is there when its examples have been run; a repository page links to the examples.
    """
    if name == root_doc:
        source[0] = source[0].replace("../examples/GALLERY_HEADER.rst", "gallery/index.rst")
        for caption, links in sections_of(source[0]):
            pages = "\n".join(f"{title} </{os.path.normpath(f'docs/{link}')}>" for title, link in links)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"


# ------------------------------------------------------------------------------------------------ formulas


def as_mathml(self: Any, node: nodes.Element) -> None:
    """Formulas as MathML, which browsers set themselves: no script, nothing to fetch."""
    block = isinstance(node, nodes.math_block)
    self.body.append('<div class="math">' if block else '<span class="math">')
    self.body.append(tex2mathml(node.astext(), as_block=block))
    self.body.append("</div>" if block else "</span>")
    raise nodes.SkipNode


# ------------------------------------------------------------------------------------------------ docstrings


def as_plain_text(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Signs that mean something else in reStructuredText, outside of code, are what they look like.

    What is inherited from scikit-learn refers to pages of its own site, which are not here.
    """
    for i, line in enumerate(lines):
        line = lines[i] = re.sub(r":(?:ref|term):`~?([^`<]*?)(?:\s*<[^`]*>)?`", r"\1", line)
        if not line.lstrip().startswith(("..", ">>>", "|", "=")):
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            parts[::2] = [re.sub(r"(\|)|(?<=\w)_(?=\W|$)", r"\\\g<0>", part) for part in parts[::2]]
            lines[i] = "".join(parts)


def write_the_way_in(app: Any, error: Exception | None) -> None:
    """The first page of the folder leads to that of the site."""
    if error is None and app.builder.format == "html":
        target = f"{root_doc}.html"
        page = f'<!doctype html><meta charset="utf-8"><title>{html_title}</title>'
        page += '<link rel="icon" href="_static/icon.svg">'
        page += f'<meta http-equiv="refresh" content="0; url={target}"><a href="{target}">{html_title}</a>\n'
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Any) -> None:
    app.add_html_math_renderer("mathml", (as_mathml, None), (as_mathml, None))
    app.connect("source-read", give_index_its_contents)
    app.connect("autodoc-process-docstring", as_plain_text, priority=900)
    app.connect("build-finished", write_the_way_in)


html_math_renderer = "mathml"
