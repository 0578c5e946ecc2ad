"""The order in which a run sees its examples."""

import torch
from jaxtyping import Int
from torch import Generator, Tensor


class ShuffledBatches:
    """Mini-batches of numbers 0 to examples − 1, in random order, without end.

    Each round takes every example once, in a new order; a remainder that does not fill a batch is left out of it.

    Parameters
    ----------
    examples
        How many there are to choose from.
    batch
        How many a batch.
    generator
        On the CPU; each round takes one permutation from it.

    Raises
    ------
    ValueError
        If a batch is empty or larger than the number of examples.

    Examples
    --------
    >>> from signalprop import stream
    >>> order = ShuffledBatches(5, 2, stream("doc", "order"))
    >>> len({*order.next().tolist(), *order.next().tolist()})
    4
    """

    def __init__(self, examples: int, batch: int, generator: Generator) -> None:
        if not 1 <= batch <= examples:
            raise ValueError(f"batch must lie between 1 and the {examples} training examples, got {batch}")
        self.examples, self.batch, self.generator = examples, batch, generator
        self._begin_round()

    def _begin_round(self) -> None:
        self._before_round = self.generator.get_state()
        shuffled = torch.randperm(self.examples, generator=self.generator, device=self.generator.device)
        self._rest = list(shuffled[: self.examples - self.examples % self.batch].view(-1, self.batch).unbind())

    def next(self) -> Int[Tensor, " batch"]:
        """Return the numbers of the next batch."""
        if not self._rest:
            self._begin_round()
        return self._rest.pop(0)

    def state(self) -> dict[str, object]:
        """Return what `resume` needs to go on from here."""
        return {"generator": self._before_round, "left": len(self._rest), "batch": self.batch}

    def resume(self, state: dict[str, object]) -> None:
        """Go on where the order that gave this state stood; the generator too stands there afterwards."""
        before, left = state["generator"], state["left"]
        assert isinstance(before, Tensor)
        assert isinstance(left, int)
        self.generator.set_state(before)
        self._begin_round()
        del self._rest[: len(self._rest) - left]
