"""Signal propagation in deep networks: predict it, measure it, and check the one against the other."""

from importlib.metadata import version

from signalprop.claims import ClaimFailed, claim, effect, identity
from signalprop.data import Data, load_data
from signalprop.streams import stream

__version__ = version("signalprop")
__all__ = ["ClaimFailed", "Data", "claim", "effect", "identity", "load_data", "stream"]
