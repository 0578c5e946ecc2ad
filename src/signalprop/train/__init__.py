"""Observe: descent on losses, from the smallest one up to networks on data."""

from signalprop.train.descent import Descent, gradient_descent
from signalprop.train.loop import History, evaluate, fit
from signalprop.train.sweep import sweep
from signalprop.train.trainability import trainability

__all__ = ["Descent", "History", "evaluate", "fit", "gradient_descent", "sweep", "trainability"]
