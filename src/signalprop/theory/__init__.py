"""Predict: pure functions over float64 that import nothing else of this package."""

from signalprop.theory.condition_number import balanced_chain_eigenvalues, gaussian_log_condition, quadratic_steps
from signalprop.theory.finite_width import (
    dead_probability,
    jacobian_entry_kurtosis,
    log_norm_asymptote,
    log_norm_law,
    mean_norm_growth,
    relative_second_moment,
)
from signalprop.theory.linear_chain import linear_chain_gradients
from signalprop.theory.scalar_chain import (
    basin,
    chain_gradient,
    crossing_step,
    descent_steps,
    descent_time,
    flat_interval,
    scalar_log_law,
    stable_step,
    steepest_interior_point,
    tied_curvature,
    tied_gradient,
)

__all__ = [
    "balanced_chain_eigenvalues",
    "basin",
    "chain_gradient",
    "crossing_step",
    "dead_probability",
    "descent_steps",
    "descent_time",
    "flat_interval",
    "gaussian_log_condition",
    "jacobian_entry_kurtosis",
    "linear_chain_gradients",
    "log_norm_asymptote",
    "log_norm_law",
    "mean_norm_growth",
    "quadratic_steps",
    "relative_second_moment",
    "scalar_log_law",
    "stable_step",
    "steepest_interior_point",
    "tied_curvature",
    "tied_gradient",
]
