"""Take the picture of the README and the landing page from the executed book, and store it in ``_static/picture.png``.

    python tools/picture.py

Run it when that figure changes; the file is committed, since a README cannot execute anything.
"""

import base64
import io
import json
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "_build" / "notebooks" / "chapters" / "01_gradient_explosion.ipynb"
FIGURE = "fig-basin"
WIDTH = 1000  # pixels


def main() -> int:
    """Find the figure by its name, reduce it and write it."""
    if not NOTEBOOK.is_file():
        print(f"{NOTEBOOK.relative_to(ROOT)} is not there: `make book` executes it", file=sys.stderr)
        return 1
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == FIGURE:
            (png,) = [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]
            image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
            image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
            image.quantize(64).save(ROOT / "_static" / "picture.png", optimize=True)
            return 0
    print(f"{NOTEBOOK.relative_to(ROOT)} has no figure {FIGURE}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
