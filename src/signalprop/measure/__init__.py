"""Observe: what a network does to a signal and to a gradient, by running it."""

from signalprop.measure.connections import direct_connections
from signalprop.measure.cost import count_parameters, multiply_adds
from signalprop.measure.curvature import hessian_density, hessian_extremes
from signalprop.measure.drift import distribution_drift, feature_moments
from signalprop.measure.factorial import factorial_effects, simultaneous_reach
from signalprop.measure.gradient_correlation import gradient_autocorrelation, gradient_cosine
from signalprop.measure.hooks import innermost_calls
from signalprop.measure.jacobian import jacobian_singular_values
from signalprop.measure.landscape import filter_normalized_direction, loss_surface
from signalprop.measure.law import LawSample, sample_law
from signalprop.measure.linear_chain import ChainSignals, chain_signals, weight_gradients
from signalprop.measure.nonlinearity import nonlinear_share
from signalprop.measure.signals import signal_profile
from signalprop.measure.smoothness import Smoothness, smoothness_along_gradient
from signalprop.measure.trunk import trunk_profile

__all__ = [
    "ChainSignals",
    "LawSample",
    "Smoothness",
    "chain_signals",
    "count_parameters",
    "direct_connections",
    "distribution_drift",
    "factorial_effects",
    "feature_moments",
    "filter_normalized_direction",
    "gradient_autocorrelation",
    "gradient_cosine",
    "hessian_density",
    "hessian_extremes",
    "innermost_calls",
    "jacobian_singular_values",
    "loss_surface",
    "multiply_adds",
    "nonlinear_share",
    "sample_law",
    "signal_profile",
    "simultaneous_reach",
    "smoothness_along_gradient",
    "trunk_profile",
    "weight_gradients",
]
