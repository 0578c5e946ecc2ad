"""The built site in a real browser: mathematics drawn, nothing asked of another host, nothing missing."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
MISSING = (
    "no Chromium to open the pages in (Debian: apt-get install chromium)"
    if not CHROMIUM
    else None
    if HTML.is_dir()
    else "no built site; `make test` builds it first"
)
if MISSING and os.environ.get("SIGNALPROP_REQUIRE_ALL") == "1":
    pytest.fail(MISSING, pytrace=False)
if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

OWN = [*HTML.glob("*.html"), *HTML.glob("chapters/*.html"), *HTML.glob("appendices/*.html")]
PAGES = sorted(path.relative_to(HTML).as_posix() for path in OWN if path.name not in ("genindex.html", "search.html"))
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


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


@pytest.fixture
def visit(browser, site):
    """Open a page and return it with a list of everything that goes wrong on it."""
    contexts = []

    def go(name: str, **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        trouble: list[str] = []
        page.on("console", lambda m: trouble.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("requestfailed", lambda r: trouble.append(f"failed: {r.url}"))
        page.on("request", lambda r: None if r.url.startswith((site, "data:")) else trouble.append(f"away: {r.url}"))
        page.on("response", lambda r: trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.goto(site + name)
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", timeout=60_000)
            page.evaluate("MathJax.startup.promise")
        return page, trouble

    yield go
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_complete(visit, name):
    page, trouble = visit(name, viewport=DESKTOP)
    page.wait_for_load_state("networkidle")
    assert trouble == []
    assert page.locator("mjx-container").count() == page.locator(".math").count()
    assert page.locator("mjx-merror").count() == 0
    text = page.locator("article").inner_text()
    assert not [mark for mark in ("\\(", "\\[", "$$", "\\frac", "{eq}", "{cite") if mark in text]
    images = page.locator("article img").all()
    assert all(len(image.get_attribute("alt") or "") > 20 for image in images)
    assert all(image.evaluate("image => image.naturalWidth > 0") for image in images)


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone(visit, name):
    page, _ = visit(name, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_stands_out_in_both_themes(visit, name, theme):
    """Text and page differ by at least 4.5 : 1, the WCAG's contrast for text; so do claims."""
    page, _ = visit(name, color_scheme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for selector in ("article p", ".claim"):
        if page.locator(selector).count():
            ink = page.locator(selector).first.evaluate("element => getComputedStyle(element).color")
            bright, dim = sorted((luminance(ink), luminance(paper)), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) > 4.5


def test_search_finds_a_word_of_a_chapter(visit):
    page, trouble = visit("search.html?q=digamma")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    assert trouble == []


def luminance(css: str) -> float:
    """WCAG's relative luminance of a colour such as ``rgb(34, 40, 50)``."""
    channels = [float(part) / 255 for part in css[css.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
