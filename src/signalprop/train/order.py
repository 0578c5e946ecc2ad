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
        On the CPU; each round takes one permutation from it, or with groups a second one for the order of the batches.
    groups
        The group of each example, such as its class, [examples]: each batch is then of one group, and the batches of
        all groups come in random order. The remainder of each group is left out. None for batches of any examples.

    Raises
    ------
    ValueError
        If a batch is empty or larger than the number of examples, or no group fills one.

    Examples
    --------
    >>> from signalprop import stream
    >>> order = ShuffledBatches(5, 2, stream("doc", "order"))
    >>> len({*order.next().tolist(), *order.next().tolist()})
    4
    """

    def __init__(
        self, examples: int, batch: int, generator: Generator, groups: Int[Tensor, " examples"] | None = None
    ) -> None:
        if not 1 <= batch <= examples:
            raise ValueError(f"batch must lie between 1 and the {examples} training examples, got {batch}")
        if groups is not None and groups.shape != (examples,):
            raise ValueError(f"groups must have one entry for each of {examples} examples, got {list(groups.shape)}")
        self.examples, self.batch, self.generator = examples, batch, generator
        self.groups = None if groups is None else groups.to(generator.device)
        self._begin_round()

    def _begin_round(self) -> None:
        self._before_round = self.generator.get_state()
        shuffled = self._permutation(self.examples)
        if self.groups is None:
            self._rest = self._batches(shuffled)
            return
        members = self.groups[shuffled]
        batches = [b for group in members.unique() for b in self._batches(shuffled[members == group])]
        if not batches:
            raise ValueError(f"no group has {self.batch} examples, so that none fills a batch")
        self._rest = [batches[i] for i in self._permutation(len(batches)).tolist()]

    def _permutation(self, length: int) -> Int[Tensor, " length"]:
        return torch.randperm(length, generator=self.generator, device=self.generator.device)

    def _batches(self, numbers: Int[Tensor, " numbers"]) -> list[Tensor]:
        return list(numbers[: len(numbers) - len(numbers) % self.batch].view(-1, self.batch).unbind())

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
