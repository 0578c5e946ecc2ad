"""Signal propagation in deep networks: predict it, measure it, and check the one against the other."""

from importlib.metadata import version

from signalprop.claims import ClaimFailed, claim, effect, identity
from signalprop.streams import stream

__version__ = version("signalprop")
__all__ = ["ClaimFailed", "claim", "effect", "identity", "stream"]
