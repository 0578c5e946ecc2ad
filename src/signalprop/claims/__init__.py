"""Claims: numbers in the book that are checked where they stand, by a check that can fail.

- `claim`: replicate measurements against a prediction, with a gate from sampling theory;
- `identity`: algebra in float64;
- `effect`: "A beats B by at least m", paired by seed, with three verdicts.

Each raises `ClaimFailed` when it does not hold, shows one readable line when it does, and leaves a `Record` in the
metadata of the notebook's output. `collect` gathers the records of executed notebooks, `read_ledger` reads them
back.
"""

from signalprop.claims.algebra import identity
from signalprop.claims.comparison import effect
from signalprop.claims.ledger import collect, read_ledger, write_ledger
from signalprop.claims.prediction import claim
from signalprop.claims.record import SCHEMA, ClaimFailed, Record

__all__ = [
    "SCHEMA",
    "ClaimFailed",
    "Record",
    "claim",
    "collect",
    "effect",
    "identity",
    "read_ledger",
    "write_ledger",
]
