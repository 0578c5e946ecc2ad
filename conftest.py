"""Shapes in annotations are enforced in the tests; one BLAS thread, as in the chapters' kernels; no test is timed."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
install_import_hook("signalprop", "beartype.beartype")
