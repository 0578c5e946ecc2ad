"""The built site as files: links lead somewhere, nothing comes from another host, notebooks carry their outputs."""

import json
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from bs4 import BeautifulSoup

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
NOTEBOOKS = HTML.parent / "notebooks"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts)

if not PAGES:
    pytest.skip("no built site; `make test` builds it first", allow_module_level=True)


def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((HTML / page).read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in soup(page).select("a[href]"):
        target, anchor = urldefrag(link["href"])
        if urlparse(target).scheme or link["href"] == "#":
            continue
        path = ((HTML / page).parent / unquote(target)).resolve() if target else HTML / page
        assert path.is_file(), link["href"]
        if anchor and path.suffix == ".html":
            assert f'id="{unquote(anchor)}"' in path.read_text(encoding="utf-8"), link["href"]


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_loaded_from_elsewhere(page):
    loaded = [tag.get("src") or tag.get("href") for tag in soup(page).select("script[src], img[src], link[href]")]
    assert [url for url in loaded if urlparse(url).netloc] == []


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.rglob("*.ipynb")), ids=lambda path: path.stem)
def test_page_offers_its_notebook_with_outputs(notebook):
    name = notebook.relative_to(NOTEBOOKS)
    offers = soup(name.with_suffix(".html").as_posix()).select('a[href$=".ipynb"]')
    (path,) = {((HTML / name).parent / unquote(offer["href"])).resolve() for offer in offers}
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert any(cell["outputs"] for cell in cells)
    assert all(cell["execution_count"] for cell in cells if "".join(cell["source"]).strip())
