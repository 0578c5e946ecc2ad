"""Observe: descent on losses, from the smallest one up."""

from signalprop.train.descent import Descent, gradient_descent

__all__ = ["Descent", "gradient_descent"]
