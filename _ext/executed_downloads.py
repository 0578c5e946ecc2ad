"""Each page offers its own executed notebook, outputs and claim records included, for download.

The theme's download button is given the notebooks that the build executed (``_build/notebooks``); what MyST-NB itself
would offer has no outputs.
"""

import shutil
from pathlib import Path


def executed(app):
    """Return the folder of executed notebooks."""
    return Path(app.srcdir) / "_build" / "notebooks"


def offer_notebook(app, pagename, templatename, context, doctree):
    """Tell the theme where the page's notebook is, if it has one."""
    if (executed(app) / f"{pagename}.ipynb").is_file():
        context["ipynb_source"] = f"{pagename}.ipynb"


def copy_notebooks(app, exception):
    """Copy the executed notebooks to where the theme links them."""
    if not exception and app.builder.format == "html" and executed(app).is_dir():
        shutil.copytree(executed(app), Path(app.outdir) / "_sources", dirs_exist_ok=True)


def setup(app):
    """Connect to Sphinx, before the theme writes its buttons."""
    app.connect("html-page-context", offer_notebook, priority=100)
    app.connect("build-finished", copy_notebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
