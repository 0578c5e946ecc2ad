"""`claim`: replicate measurements against a prediction."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from signalprop.claims import gates
from signalprop.claims.record import Record, check_names, mean_and_error, not_run, number, settle
from signalprop.profiles import PROFILES, profile

MIN_REPLICATES = 30

Scalar = float | Tensor


@dataclass(frozen=True)
class Comparison:
    """Replicates of one case against its prediction, in the units of the measurement."""

    case: str
    predicted: float
    bias: float
    bound: float
    replicates: int
    mean: float
    standard_error: float
    skewness: float
    gate: float
    resolution: float

    def distance(self, prediction: float) -> float:
        """Return how far the mean lies from a prediction (its bias added), in gates; above 1 it is rejected."""
        return abs(self.mean - prediction - self.bias) / self.gate

    def tells(self, rival: float) -> bool:
        """Return whether a rival is rejected here, and lies further from the prediction than is resolved here."""
        return self.distance(rival) > 1 and abs(rival - self.predicted) > self.resolution


def claim(
    id: str,
    statement: str,
    measured: Tensor | Mapping[str, Tensor],
    predicted: Scalar | Mapping[str, Scalar],
    *,
    source: str,
    equation: str,
    rivals: Mapping[str, Scalar | Mapping[str, Scalar]] | None = None,
    bias: tuple[float, float, str] | None = None,
    profiles: tuple[str, ...] = PROFILES,
    stored: str = "",
) -> Record:
    r"""Compare replicate measurements with a prediction, and raise if they disagree.

    The mean of M replicates passes if it lies within :math:`t_{1-\alpha/2,\,M-1}` standard errors of the prediction,
    with α = 2e-6 a claim. Nothing about this gate is adjustable: more resolution takes more replicates.

    Parameters
    ----------
    id
        Name of the claim, unique in the book.
    statement
        What is claimed, in one sentence.
    measured
        One number for each independently drawn network, shape [M] with M ≥ 30. Means of products of many random
        factors are log-normal: pass logarithms there, since Student's t needs a mean that is close to normal. A
        claim over several settings passes one tensor a setting, by name; they share α.
    predicted
        The prediction, a float or 0-d tensor; by name if `measured` is.
    source
        Key in ``references.bib``, or ``derived``.
    equation
        Label of the equation on the page.
    rivals
        Known wrong values by label (errata, usual mistakes); by case where they differ. Each must be rejected by the
        same gate in at least one case, and lie further from the prediction than the claim can resolve there.
    bias
        ``(value, bound, reason)`` of a known finite-size bias. The value shifts the prediction; the bound, a
        largest error of the value itself, widens the gate once and the resolution twice.
    profiles
        Those in which the claim runs; in another it is recorded as not run.
    stored
        If `measured` comes from a stored result, its label, ``load_stored(name).label``: the claim is then marked, and
        not counted as executed.

    Returns
    -------
    Record

    Raises
    ------
    ClaimFailed
        If the prediction is rejected, or a rival is not.
    ValueError
        If the measurements cannot be judged (wrong shape, fewer than 30, not finite, without any spread), or there is
        not one prediction for each case.
    TypeError
        If the measurements are complex.

    Examples
    --------
    >>> import torch
    >>> from signalprop import stream
    >>> squares = torch.randn(400, 50, generator=stream("doc", "claim")).square().mean(1)
    >>> record = claim("doc.second-moment", "a standard normal has second moment 1", squares, 1.0,
    ...                source="derived", equation="eq-none", rivals={"standard deviation √2": 2**0.5})
    ... # doctest: +ELLIPSIS
    ✓ doc.second-moment: a standard normal has second moment 1 — measured ...
    """
    check_names(id, statement, profiles)
    record = Record(id, "prediction", statement, "not run", source, equation, profiles=profiles, stored=stored)
    if profile() not in profiles:
        return not_run(record)
    if isinstance(measured, Mapping) and not measured:
        raise ValueError(f"claim {id}: measured has no cases")
    samples = {name: _replicates(id, name, values) for name, values in _by_case(measured).items()}
    theory = _aligned(id, "predicted", predicted, samples)
    shift, bound, _ = bias or (0.0, 0.0, "")
    if not (math.isfinite(shift) and 0 <= bound < math.inf):
        raise ValueError(f"claim {id}: a bias needs a finite value and a finite bound ≥ 0, got {shift} and {bound}")
    alpha = gates.ALPHA / len(samples)
    cases = [_compare(name, values, theory[name], shift, bound, alpha) for name, values in samples.items()]

    wrong = {label: _aligned(id, f"rival {label!r}", value, samples) for label, value in (rivals or {}).items()}
    rejected = {label: max(c.distance(value[c.case]) for c in cases) for label, value in wrong.items()}
    tellable = {label: any(c.tells(value[c.case]) for c in cases) for label, value in wrong.items()}
    worst = max(cases, key=lambda c: c.distance(c.predicted))
    holds = worst.distance(worst.predicted) <= 1 and all(d > 1 for d in rejected.values()) and all(tellable.values())
    record = Record(
        id,
        "prediction",
        statement,
        "holds" if holds else "fails",
        source,
        equation,
        cases=[asdict(c) for c in cases],
        rivals=[{"label": label, "distance": distance} for label, distance in rejected.items()],
        profiles=profiles,
        stored=stored,
    )
    failure = None if holds else _failure(worst, wrong, rejected, tellable)
    return settle(record, _line(cases, worst, rejected), failure)


def _compare(name: str, values: Tensor, predicted: float, shift: float, bound: float, alpha: float) -> Comparison:
    replicates = len(values)
    sd = values.std().item()
    error = sd / replicates**0.5
    return Comparison(
        case=name,
        predicted=predicted,
        bias=shift,
        bound=bound,
        replicates=replicates,
        mean=values.mean().item(),
        standard_error=error,
        skewness=(((values - values.mean()) / sd) ** 3).mean().item(),
        gate=gates.gate(replicates, alpha) * error + bound,
        resolution=gates.resolution(replicates, alpha) * error + 2 * bound,
    )


def _replicates(id: str, case: str, values: Tensor) -> Tensor:
    where = f"claim {id}" + (f", case {case}" if case else "")
    if values.is_complex():
        raise TypeError(f"{where}: measured is complex; pass real numbers, such as absolute values")
    values = values.detach().to("cpu", torch.float64)
    if values.ndim != 1:
        raise ValueError(
            f"{where}: measured has shape {list(values.shape)}; pass one number for each independent network, shape [M]"
        )
    if len(values) < MIN_REPLICATES:
        raise ValueError(f"{where}: {len(values)} replicates; a prediction needs at least {MIN_REPLICATES}")
    if bad := (~values.isfinite()).nonzero().flatten().tolist():
        raise ValueError(
            f"{where}: {len(bad)} of {len(values)} replicates are not finite (first: number {bad[0]}, "
            f"{values[bad[0]]}); measure a logarithm, or count what overflows"
        )
    if values.std() <= 1e-14 * values.abs().max():
        raise ValueError(f"{where}: all replicates equal {values[0]:g}; what has no spread is an identity, not a claim")
    return values


def _by_case(values: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(values) if isinstance(values, Mapping) else {"": values}


def _aligned(
    id: str, what: str, values: Scalar | Mapping[str, Scalar], samples: Mapping[str, Tensor]
) -> dict[str, float]:
    by_case = values if isinstance(values, Mapping) else dict.fromkeys(samples, values)
    if set(by_case) != set(samples):
        raise ValueError(f"claim {id}: {what} has cases {sorted(by_case)}, measured has {sorted(samples)}")
    return {name: _scalar(f"claim {id}: {what}", by_case[name]) for name in samples}


def _scalar(what: str, value: Scalar) -> float:
    tensor = torch.as_tensor(value).detach()
    if tensor.numel() != 1 or tensor.is_complex() or tensor.isnan():
        raise ValueError(f"{what} must be one real number for each case, got {value}")
    return float(tensor)


def _line(cases: list[Comparison], worst: Comparison, rejected: Mapping[str, float]) -> str:
    where = "" if len(cases) == 1 else f"{len(cases)} cases; the closest call, {worst.case}: "
    parts = [
        f"{where}measured {mean_and_error(worst.mean, worst.standard_error)} ({worst.replicates} replicates), "
        f"predicted {number(worst.predicted + worst.bias)}; catches an error of {worst.resolution:.2g}"
    ]
    if rejected:
        parts.append("rejects " + ", ".join(f"“{label}”" for label in rejected))
    return "; ".join(parts)


def _failure(
    worst: Comparison,
    wrong: Mapping[str, Mapping[str, float]],
    rejected: Mapping[str, float],
    tellable: Mapping[str, bool],
) -> str:
    rows = []
    if worst.distance(worst.predicted) > 1:
        case = f" ({worst.case})" if worst.case else ""
        away = abs(worst.mean - worst.predicted - worst.bias)
        rows += [
            f"  predicted{case}  {number(worst.predicted + worst.bias)}",
            f"  measured{case}   {mean_and_error(worst.mean, worst.standard_error)} "
            f"(mean ± standard error, {worst.replicates} replicates)",
            f"  apart by   {number(away)} = {away / worst.standard_error:.1f} standard errors; "
            f"the gate is {worst.gate / worst.standard_error:.2f}",
        ]
        rows += [
            f"  it agrees with the rival “{label}”, {number(value[worst.case])}"
            for label, value in wrong.items()
            if worst.distance(value[worst.case]) <= 1
        ]
    for label in wrong:
        if rejected[label] <= 1:
            rows.append(f"  the measurement does not reject the rival “{label}”, {_values(wrong[label])}")
        elif not tellable[label]:
            rows.append(
                f"  the claim cannot tell the rival “{label}”, {_values(wrong[label])}, from the prediction: "
                "it lies within the resolution; take more replicates"
            )
    return "\n".join(rows)


def _values(by_case: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {number(value)}" if name else number(value) for name, value in by_case.items())
