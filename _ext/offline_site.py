"""Make the site complete in itself: no page asks another host for anything.

Jupyter Book loads MathJax from a content delivery network; this copies the one script and the fonts that are needed
from the ``sphinx-mathjax-offline`` package, to where ``mathjax_path`` in ``_config.yml`` expects them. It also leaves
out two of the theme's scripts: thebe's (unused; it is written twice and then fails on every page) and Font Awesome's
(1.5 MB for the icons that its web font draws anyway).
"""

import importlib.util
import re
import shutil
from pathlib import Path

UNUSED = ("THEBE_JS_URL", "sphinx-thebe.js")
FONT_AWESOME = re.compile(r'<script[^>]*src="[^"]*/scripts/fontawesome\.js[^"]*"[^>]*></script>')


def copy_mathjax(app, exception):
    """Copy MathJax's script and fonts into the built site."""
    if exception or app.builder.format != "html":
        return
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0])
    source, target = package / "static" / "mathjax", Path(app.outdir) / "_static" / "mathjax"
    fonts = Path("output/chtml/fonts/woff-v2")
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)
    shutil.copy2(source / "tex-chtml-full.js", target)


def drop_font_awesome(app, exception):
    """Take Font Awesome's script, which the theme's template writes, out of every page."""
    if exception or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if FONT_AWESOME.search(text):
            page.write_text(FONT_AWESOME.sub("", text), encoding="utf-8")
    for script in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        script.unlink()


def drop_unused_scripts(app, pagename, templatename, context, doctree):
    """Leave thebe out of the page's scripts."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if not any(
            name in str(getattr(script, "filename", script)) + str(getattr(script, "attributes", "")) for name in UNUSED
        )
    ]


def setup(app):
    """Connect to Sphinx."""
    app.connect("html-page-context", drop_unused_scripts, priority=900)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", drop_font_awesome)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
