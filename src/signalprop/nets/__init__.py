"""Build: the networks of the book."""

from signalprop.nets.linear_chain import random_linear_chain
from signalprop.nets.scalar_chain import tied_chain_loss, untied_chain_loss

__all__ = ["random_linear_chain", "tied_chain_loss", "untied_chain_loss"]
