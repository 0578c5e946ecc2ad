"""Observe: what a network does to a signal and to a gradient, by running it."""

from signalprop.measure.curvature import hessian_density, hessian_extremes
from signalprop.measure.hooks import innermost_calls
from signalprop.measure.jacobian import jacobian_singular_values
from signalprop.measure.linear_chain import ChainSignals, chain_signals, weight_gradients
from signalprop.measure.signals import signal_profile

__all__ = [
    "ChainSignals",
    "chain_signals",
    "hessian_density",
    "hessian_extremes",
    "innermost_calls",
    "jacobian_singular_values",
    "signal_profile",
    "weight_gradients",
]
