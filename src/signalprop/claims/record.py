"""What a claim leaves behind: a record in the output's metadata, and one line for the reader."""

import html
import math
import re
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from signalprop.profiles import PROFILES, profile
from signalprop.streams import base_seed

SCHEMA = 2
METADATA_KEY = "signalprop"

_ID = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


@dataclass(frozen=True)
class Record:
    """One settled claim, as it stands in the ledger (schema 2).

    Attributes
    ----------
    id
        Name of the claim, unique in the book, such as ``chain.log-growth``.
    kind
        ``prediction``, ``identity`` or ``effect``.
    statement
        The claim in one sentence.
    verdict
        ``holds``, ``fails`` or ``not run`` (in this profile); for an effect ``shown``, ``contradicted``, ``not shown``.
    source
        Key in ``references.bib``, or ``derived`` for what is derived on the page.
    equation
        Label of the equation on the page.
    profile, seed
        Of the run: ``SIGNALPROP_PROFILE`` and ``SIGNALPROP_SEED``.
    profiles
        Those in which the claim runs.
    cases
        One mapping for each case. A prediction has ``case, predicted, bias, bound, replicates, mean,
        standard_error, skewness, gate, resolution``, in the units of the measurement; an identity has ``case,
        elements, worst`` (largest deviation over its tolerance); an effect has ``case, replicates, mean,
        standard_error, lower, upper, margin, expected, power``.
    rivals
        One mapping ``label, distance`` for each known wrong value: the distance of the measurement from it, in gates
        (for an identity in tolerances); above 1 it is rejected.
    stored
        Name of the stored result that was judged, with ``, stale`` after it if the code has changed since; empty if
        the measurement was made in this run. (New in schema 2.)
    """

    id: str
    kind: str
    statement: str
    verdict: str
    source: str
    equation: str
    cases: list[dict[str, Any]] = field(default_factory=list)
    rivals: list[dict[str, Any]] = field(default_factory=list)
    profiles: tuple[str, ...] = PROFILES
    profile: str = field(default_factory=profile)
    seed: int = field(default_factory=base_seed)
    stored: str = ""
    schema: int = SCHEMA

    def _ipython_display_(self) -> None:
        """Show nothing: the claim's line is on the page already."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON data; numbers that are not finite become strings such as ``"inf"``."""
        data: dict[str, Any] = _plain(asdict(self))
        return data


class ClaimFailed(AssertionError):
    """A claim does not hold. The message compares prediction, measurement and rivals; `record` has the numbers."""

    def __init__(self, message: str, record: Record):
        super().__init__(message)
        self.record = record


def check_names(id: str, statement: str, profiles: tuple[str, ...]) -> None:
    """Raise ValueError unless `id` can name a claim, `statement` says something and `profiles` exist."""
    if not _ID.fullmatch(id):
        raise ValueError(f"claim id {id!r}: use lower-case words joined by '.' and '-', such as 'chain.log-growth'")
    if not statement.strip():
        raise ValueError(f"claim {id}: state in one sentence what is claimed")
    if not profiles or (unknown := [name for name in profiles if name not in PROFILES]):
        raise ValueError(f"claim {id}: profiles must be some of {PROFILES}, got {unknown if profiles else profiles}")


def settle(record: Record, line: str, failure: str | None = None) -> Record:
    """Show the claim's line, publish its record, and raise `ClaimFailed` if there is a failure to report."""
    if record.stored and record.verdict != "not run":
        line = f"stored result ({record.stored}): {line}"
    if failure is None:
        mark = {"holds": "✓", "shown": "✓", "not run": "·"}.get(record.verdict, "○")
        mark = "▣" if record.stored and mark != "·" else mark
        _show(f"{mark} {record.id}: {record.statement}", line, record)
        return record
    _show(f"✗ {record.id}: {record.statement}", line, record)
    raise ClaimFailed(f"{record.id} does not hold: {record.statement}\n{failure}", record)


def not_run(record: Record) -> Record:
    """Settle a claim that this profile leaves out."""
    return settle(record, f"runs in profile {', '.join(record.profiles)}, not in {record.profile}")


def number(value: float) -> str:
    """Return a number as the claims print it: up to six significant digits."""
    return f"{value:.6g}"


def mean_and_error(mean: float, error: float) -> str:
    """Return ``mean ± error`` with two digits of the error and the mean rounded to match."""
    if not (math.isfinite(error) and error > 0):
        return f"{number(mean)} ± {number(error)}"
    decimals = 1 - math.floor(math.log10(error))
    if not 0 <= decimals <= 9:
        return f"{mean:.6g} ± {error:.2g}"
    return f"{mean:.{decimals}f} ± {error:.{decimals}f}"


def _show(head: str, detail: str, record: Record) -> None:
    text = f"{head} — {detail}"
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import publish_display_data

    state = {"✗": "fails", "▣": "stored"}.get(head[0], "holds")
    head, detail = html.escape(head), html.escape(detail)
    markup = (
        f'<p class="claim claim-{state}" id="claim-{record.id}"><strong>{head}</strong> <span>— {detail}</span></p>'
    )
    publish_display_data(
        {"text/plain": text, "text/html": markup}, metadata={METADATA_KEY: {"claim": record.to_json()}}
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
