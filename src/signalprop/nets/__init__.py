"""Build: the networks of the book."""

from signalprop.nets.initializers import initialize_
from signalprop.nets.linear_chain import random_linear_chain
from signalprop.nets.plain import MLP, Elementwise
from signalprop.nets.scalar_chain import tied_chain_loss, untied_chain_loss

__all__ = ["MLP", "Elementwise", "initialize_", "random_linear_chain", "tied_chain_loss", "untied_chain_loss"]
