"""Shapes in annotations are enforced in the tests; one BLAS thread, as in the chapters' kernels."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("signalprop", "beartype.beartype")
