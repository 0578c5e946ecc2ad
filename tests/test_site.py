"""The built site, opened in a real browser: mathematics drawn, nothing asked of another host, nothing missing."""

import functools
import http.server
import json
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
REQUIRED = os.environ.get("SIGNALPROP_REQUIRE_ALL") == "1"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
HOW = "pages are not opened in a browser: install Chromium (Debian: apt-get install chromium), then `make test`"

if not REQUIRED and not (CHROMIUM and HTML.is_dir()):
    pytest.skip(HOW if not CHROMIUM else "no built site; `make test` builds it first", allow_module_level=True)
assert CHROMIUM, HOW

PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if path.parts[len(HTML.parts)] not in ("_static", "_sources") and path.name not in ("genindex.html", "search.html")
)
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    handler = functools.partial(QuietHandler, directory=str(HTML))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def visit(request, browser, site):
    """Open a page and return it with everything that went wrong on the way."""
    context = browser.new_context(viewport=SIZES[request.param])
    page = context.new_page()
    trouble: list[str] = []
    page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("requestfailed", lambda r: trouble.append(f"failed: {r.url}"))
    page.on("request", lambda r: None if r.url.startswith((site, "data:")) else trouble.append(f"elsewhere: {r.url}"))
    page.on("response", lambda r: trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)

    def go(name: str):
        page.goto(site + name)
        page.wait_for_load_state("networkidle")
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", timeout=30_000)
            page.evaluate("MathJax.startup.promise")
        return page, trouble

    yield go
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_complete(visit, name):
    page, trouble = visit(name)
    assert trouble == []
    assert page.locator("mjx-container").count() == page.locator(".math").count()
    assert page.locator("mjx-merror").count() == 0
    text = page.locator("article").inner_text()
    assert not [mark for mark in ("\\(", "\\[", "$$", "\\frac", "{eq}", "{cite") if mark in text]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the window"
    assert page.evaluate(
        "[...document.querySelectorAll('article img')].every(i => i.alt.length > 20 && i.naturalWidth)"
    )


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(visit, name, site):
    page, _ = visit(name)
    links = {page.evaluate("location.href") and urljoin(site + name, href) for href in hrefs(page)}
    for link in links:
        target, anchor = urldefrag(link)
        if not target.startswith(site):
            continue
        path = HTML / (unquote(urlparse(target).path).lstrip("/") or "index.html")
        assert path.is_file(), link
        if anchor and path.suffix == ".html":
            assert f'id="{unquote(anchor)}"' in path.read_text(encoding="utf-8"), link


@pytest.mark.parametrize("name", [page for page in PAGES if page.startswith(("chapters/", "appendices/scoreboard"))])
def test_notebook_on_offer_has_its_outputs(visit, name, site):
    page, _ = visit(name)
    (url,) = {href for href in hrefs(page) if href.endswith(".ipynb")}
    path = HTML / unquote(urlparse(urljoin(site + name, url)).path).lstrip("/")
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert any(cell["outputs"] for cell in cells)
    assert all(cell["execution_count"] for cell in cells if "".join(cell["source"]).strip())


def test_search_finds_a_word_of_a_chapter(visit, site):
    page, trouble = visit("search.html?q=digamma")
    page.wait_for_selector("#search-results li a", timeout=15_000)
    assert trouble == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_in_both_themes(browser, site, theme):
    """Text and page differ by at least 4.5 : 1, the WCAG's contrast for text."""
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    page.goto(site + "index.html")
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    bright, dim = sorted((luminance(ink), luminance(paper)), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) > 4.5
    context.close()


def hrefs(page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")


def luminance(css: str) -> float:
    channels = [float(part) / 255 for part in css[css.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
