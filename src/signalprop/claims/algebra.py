"""`identity`: algebra in float64, where nothing is random and nothing is rounded away."""

from collections.abc import Mapping

import torch
from torch import Tensor

from signalprop.claims.record import Record, check_names, not_run, number, settle
from signalprop.profiles import PROFILES, profile

RELATIVE_TOLERANCE = 1e-10


def identity(
    id: str,
    statement: str,
    measured: Tensor,
    predicted: Tensor | float,
    *,
    source: str,
    equation: str,
    rivals: Mapping[str, Tensor | float] | None = None,
    bound: tuple[Tensor | float, str] | None = None,
    profiles: tuple[str, ...] = PROFILES,
    stored: str = "",
) -> Record:
    """Compare numbers that algebra says are equal, element by element, and raise if they differ.

    An element passes if it is within 1e-10 of the prediction, relative; where the prediction is zero it must be
    exactly zero.

    Parameters
    ----------
    id, statement, source, equation, profiles, stored
        As in `claim`.
    measured
        Any shape, float64 (whole numbers and booleans are converted).
    predicted
        Broadcasts against `measured`.
    rivals
        Known wrong values by label, which broadcast too; each must differ from `measured` in at least one element by
        more than the tolerance.
    bound
        ``(value, reason)``: an absolute error that theory allows, such as the remainder of an expansion or the spacing
        of a grid. It is added to the tolerance and must not come from the run that is checked.

    Returns
    -------
    Record

    Raises
    ------
    ClaimFailed
        If an element differs, or a rival does not.
    ValueError
        If shapes do not broadcast, a measurement is not finite, or there is nothing to compare.
    TypeError
        If `measured` or `predicted` has less than float64's precision.

    Examples
    --------
    >>> w = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    >>> (slope,) = torch.autograd.grad((w**7).sum(), w)
    >>> record = identity("doc.power-rule", "the derivative of w⁷ is 7w⁶", slope, 7 * w.detach() ** 6,
    ...                   source="derived", equation="eq-none", rivals={"w⁶": w.detach() ** 6})
    ✓ doc.power-rule: the derivative of w⁷ is 7w⁶ — equal in 2 numbers to 1e-10; rejects “w⁶”
    """
    check_names(id, statement, profiles)
    record = Record(id, "identity", statement, "not run", source, equation, profiles=profiles, stored=stored)
    if profile() not in profiles:
        return not_run(record)
    observed = _exact(id, "measured", measured)
    theory = _spread(id, "predicted", predicted, observed)
    if observed.numel() == 0:
        raise ValueError(f"claim {id}: nothing to compare, measured is empty")
    if not observed.isfinite().all():
        raise ValueError(f"claim {id}: measured has {int((~observed.isfinite()).sum())} entries that are not finite")
    slack = _spread(id, "bound", bound[0], observed) if bound else torch.zeros_like(observed)
    if not (slack.isfinite().all() and (slack >= 0).all()):
        raise ValueError(f"claim {id}: a bound must be finite and not negative, got {bound and bound[0]}")

    apart = _in_tolerances(observed, theory, slack)
    away = {
        label: _in_tolerances(observed, _spread(id, f"rival {label!r}", value, observed), slack).max().item()
        for label, value in (rivals or {}).items()
    }
    worst = apart.max().item()
    holds = worst <= 1 and all(distance > 1 for distance in away.values())
    record = Record(
        id,
        "identity",
        statement,
        "holds" if holds else "fails",
        source,
        equation,
        cases=[{"case": "", "elements": observed.numel(), "worst": worst}],
        rivals=[{"label": label, "distance": distance} for label, distance in away.items()],
        profiles=profiles,
        stored=stored,
    )
    precision = f"to {RELATIVE_TOLERANCE:g}" if bound is None else f"to within {bound[1]}"
    equal = "equal" if worst <= 1 else "not equal"
    if observed.numel() == 1:
        line = f"measured {number(observed.item())}, predicted {number(theory.item())}, {equal} {precision}"
    else:
        line = f"{equal} in {observed.numel()} numbers {precision}"
    if rejected := [f"“{label}”" for label, distance in away.items() if distance > 1]:
        line += "; rejects " + ", ".join(rejected)
    failure = None if holds else _failure(observed, theory, apart, away)
    return settle(record, line, failure)


def _in_tolerances(observed: Tensor, theory: Tensor, slack: Tensor) -> Tensor:
    """Return |observed − theory| over the tolerance, element by element; 0 where equal, inf where it must be equal."""
    gap = (observed - theory).abs()
    ratio = gap / (RELATIVE_TOLERANCE * theory.abs() + slack)
    return torch.where(gap == 0, 0.0, torch.where(theory.isfinite(), ratio, torch.inf))


def _exact(id: str, what: str, values: Tensor | float) -> Tensor:
    tensor = torch.as_tensor(values, dtype=torch.float64) if not isinstance(values, Tensor) else values.detach().cpu()
    if tensor.is_complex():
        raise TypeError(f"claim {id}: {what} is complex; compare real and imaginary parts")
    if tensor.isnan().any() and what != "measured":
        raise ValueError(f"claim {id}: {what} has entries that are not a number")
    if tensor.is_floating_point() and tensor.dtype != torch.float64:
        raise TypeError(f"claim {id}: {what} is {tensor.dtype}; an identity is checked in float64: compute it there")
    return tensor.to(torch.float64)


def _spread(id: str, what: str, values: Tensor | float, observed: Tensor) -> Tensor:
    tensor = _exact(id, what, values)
    try:
        return tensor.broadcast_to(observed.shape)
    except RuntimeError:
        raise ValueError(
            f"claim {id}: {what} has shape {list(tensor.shape)}, which does not broadcast to measured, "
            f"{list(observed.shape)}"
        ) from None


def _failure(observed: Tensor, theory: Tensor, apart: Tensor, away: Mapping[str, float]) -> str:
    rows = []
    if apart.max() > 1:
        at = int(apart.argmax())
        rows += [
            f"  predicted  {theory.flatten()[at].item():.15g}",
            f"  measured   {observed.flatten()[at].item():.15g}",
            f"  at element {at} of {observed.numel()}; {int((apart > 1).sum())} differ by more than the tolerance, "
            f"here by {number(apart.max().item())} tolerances",
        ]
    rows += [
        f"  the measurement does not reject the rival “{label}”" for label, distance in away.items() if distance <= 1
    ]
    return "\n".join(rows)
