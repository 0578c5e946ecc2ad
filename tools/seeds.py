"""Do the claims hold at seeds nobody has looked at? Run each page at fresh base seeds, and say where one fails.

    python tools/seeds.py [--number 20] [PAGE.md ...]

The seeds are drawn from the operating system and printed, so that a commit can name them.
"""

import argparse
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext

ROOT = Path(__file__).resolve().parent.parent


def run(page: Path, seed: int) -> str | None:
    """Run a page's code at one base seed in a process of its own; return the end of its traceback if it fails."""
    code = "\n\n".join(cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code")
    threads = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "SIGNALPROP_SEED": str(seed)}
    command = [sys.executable, "-W", "ignore::UserWarning:matplotlib", "-"]
    done = subprocess.run(
        command, input=code, env={**os.environ, **threads}, capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else "\n".join(done.stderr.splitlines()[-8:])


def main() -> int:
    """Run the pages named, by default all chapters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, default=sorted((ROOT / "chapters").glob("*.md")))
    parser.add_argument("--number", type=int, default=20, help="how many seeds (default 20)")
    arguments = parser.parse_args()
    seeds = [secrets.randbelow(2**31) for _ in range(arguments.number)]
    print("seeds:", *seeds, flush=True)
    jobs = [(page, seed) for page in arguments.pages for seed in seeds]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (page, seed), trouble in zip(jobs, pool.map(lambda job: run(*job), jobs), strict=True):
            if trouble:
                failed += 1
                print(f"✗ {page.stem} at seed {seed}\n{trouble}", flush=True)
    print(f"{len(jobs) - failed} of {len(jobs)} runs hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
