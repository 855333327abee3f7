"""The built site holds together: links, search, pictures. Read from its files, and in a browser where there is one.

`make site-test` builds the site and runs these; by themselves they want `make docs` first.
"""

import functools
import importlib
import json
import re
import shutil
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pkgutil import iter_modules
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import numpy as np
import pytest

import skfdrmfl

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "_build" / "html"
pytestmark = pytest.mark.site
SCRIPTS_OF_SPHINX = ("genindex.html", "search.html", "py-modindex.html")


class Page(HTMLParser):
    """What a page refers to, its anchors, and its words."""

    def __init__(self, path):
        super().__init__()
        self.links, self.pictures, self.anchors = [], [], {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors.update(found[key] for key in ("id", "name") if found.get(key))
        if tag in ("a", "link") and found.get("href"):
            self.links.append(found["href"])
        if tag in ("img", "script") and found.get("src"):
            (self.pictures if tag == "img" else self.links).append(found["src"])


def is_outside(link):
    return bool(urlparse(link).scheme or urlparse(link).netloc)


@pytest.fixture(scope="module")
def pages():
    if not (SITE / "index.html").exists():
        pytest.fail("docs/_build/html has no site; run `make docs` first.")
    return {path: Page(path) for path in SITE.rglob("*.html") if SITE / "_static" not in path.parents}


# ----------------------------------------------------------------------------------------- from the files alone


def leads_somewhere(path, link, pages):
    target, anchor = urldefrag(link)
    there = (path.parent / unquote(urlparse(target).path)).resolve() if target else path
    if there.is_dir():
        there /= "index.html"
    if not there.exists() or SITE not in there.parents:
        return False
    return there.suffix != ".html" or unquote(anchor) in pages[there].anchors


def test_every_internal_link_leads_to_a_file_and_an_anchor(pages):
    internal = [
        (path, link) for path, page in pages.items() for link in [*page.links, *page.pictures] if not is_outside(link)
    ]
    assert len(internal) > 1000
    assert [(path.name, link) for path, link in internal if not leads_somewhere(path, link, pages)] == []


def test_every_page_is_reached_from_the_first(pages):
    seen, todo = set(), [SITE / "index.html"]
    while todo:
        path = todo.pop()
        if path in seen or path not in pages:
            continue
        seen.add(path)
        for link in pages[path].links:
            target = urldefrag(link)[0]
            if target and not is_outside(target):
                todo.append((path.parent / unquote(urlparse(target).path)).resolve())
    assert {path for path in pages if path.name not in SCRIPTS_OF_SPHINX} <= seen


def public_names():
    """Every name of `__all__` of every public module, by the name it is imported under."""
    modules = [module.name for module in iter_modules(skfdrmfl.__path__) if not module.name.startswith("_")]
    modules.remove("flower")  # which cannot be imported without Flower
    for name in ("", *modules):
        module = importlib.import_module(f"skfdrmfl.{name}".rstrip("."))
        for public in getattr(module, "__all__", ()):
            if not public.startswith("__"):
                yield f"{module.__name__}.{public}"


def test_every_public_name_has_a_page_and_is_in_the_search_index():
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text, re.DOTALL)[1])
    names = list(public_names())
    assert len(names) > 50
    for name in names:
        assert f"docs/api/{name}" in index["docnames"], name
        page = (SITE / "docs" / "api" / f"{name}.html").read_text(encoding="utf-8")
        assert f'id="{name}"' in page, name


def test_the_search_index_knows_where_words_stand():
    """Its terms are stems, those of titles apart."""
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text, re.DOTALL)[1])
    for stem, page in {"shrinkag": "docs/recipes", "dishonest": "docs/robust", "tecat": "docs/how_good"}.items():
        found = set()
        for where in (index[kind].get(stem, []) for kind in ("terms", "titleterms")):
            found.update(index["docnames"][number] for number in (where if isinstance(where, list) else [where]))
        assert page in found, stem


def grey(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=float)


def test_no_picture_is_blank(pages):
    pictures = set()
    for path, page in pages.items():
        for link in page.pictures:
            if not is_outside(link) and link.endswith(".png"):
                pictures.add((path.parent / unquote(link)).resolve())
    drawn = [path for path in pictures if "thumb" not in path.name]
    assert len(drawn) >= 30
    assert [path.name for path in pictures if grey(path).std() < 3.0] == []


def test_the_gallery_has_all_examples_with_a_picture_each(pages):
    examples = sorted(path.stem for path in (ROOT / "examples").glob("plot_*.py"))
    assert len(examples) >= 12
    for name in examples:
        assert any("sphx_glr" in picture for picture in pages[SITE / "docs" / "gallery" / f"{name}.html"].pictures), (
            name
        )


# ----------------------------------------------------------------------------------------- in a browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(pages):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no chromium with chromedriver here; on Debian: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium here; pip install selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1300,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


PICTURES = """
const found = [];
for (const image of document.images) {
  image.loading = "eager";
  await image.decode().catch(() => {});
  let spread = 0;
  if (image.naturalWidth > 0) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 64, 64);
    const grey = context.getImageData(0, 0, 64, 64).data.filter((_, i) => i % 4 === 1);
    spread = Math.max(...grey) - Math.min(...grey);
  }
  found.push([image.src, image.naturalWidth, spread]);
}
return found;
"""


def test_a_browser_follows_every_link_and_sees_every_picture(browser, address, pages):
    first = f"{address}docs/index.html"
    todo, seen, pictures = [first], {address}, {}
    while todo:
        url = todo.pop()
        if url in seen:
            continue
        seen.add(url)
        browser.get(url)
        assert browser.title and "404" not in browser.title, url
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not severe, (url, severe)
        for source, width, spread in browser.execute_script(f"return (async () => {{{PICTURES}}})()"):
            pictures[source] = (width, spread)
        hrefs = browser.execute_script("return Array.from(document.querySelectorAll('a[href]')).map(a => a.href)")
        for href in hrefs:
            target = urldefrag(href)[0]
            if target.startswith(address) and target.endswith(".html") and target not in seen:
                todo.append(urljoin(address, target))
    visited = {urlparse(url).path for url in seen} | {"/index.html"}
    assert {f"/{path.relative_to(SITE)}" for path in pages if path.name not in SCRIPTS_OF_SPHINX} <= visited
    assert len(pictures) >= 30
    assert [name for name, (width, spread) in pictures.items() if width == 0 or spread < 20] == []


def test_a_browser_is_led_to_the_first_page(browser, address):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(address)
    WebDriverWait(browser, 30).until(lambda b: b.current_url == f"{address}docs/index.html")


def found_by_search(browser, address, words):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{address}search.html?q={words}")
    summary = "#search-results p.search-summary"
    WebDriverWait(browser, 30).until(
        lambda b: re.search(r"found|did not", b.find_element(By.CSS_SELECTOR, summary).text)
    )
    return [link.get_attribute("href") for link in browser.find_elements(By.CSS_SELECTOR, "#search-results li a")]


def test_a_browser_searches(browser, address):
    assert any("docs/robust.html" in link for link in found_by_search(browser, address, "dishonest"))
    assert any("skfdrmfl.metrics.rpiq" in link for link in found_by_search(browser, address, "rpiq"))
    assert found_by_search(browser, address, "xyzzyplugh") == []


def test_a_browser_sets_the_formulas(browser, address):
    browser.get(f"{address}docs/method.html")
    sizes = browser.execute_script(
        "return Array.from(document.querySelectorAll('math')).map(m => m.getBoundingClientRect())"
        ".map(r => [r.width, r.height])"
    )
    assert len(sizes) > 30
    assert all(width > 0 and height > 0 for width, height in sizes)
    # A fraction stands higher than a letter where it is set as mathematics, and not where it is a row of letters.
    heights = [height for _, height in sizes]
    assert max(heights) > 1.5 * min(heights)
