"""Observe: what a network does to a signal and to a gradient, by running it."""

from signalprop.measure.linear_chain import ChainSignals, chain_signals, weight_gradients

__all__ = ["ChainSignals", "chain_signals", "weight_gradients"]
