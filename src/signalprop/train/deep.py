"""Training of ultra-deep twins: many layers between a fixed first one and a readout, all trained or all frozen."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional
from tqdm import tqdm

from signalprop.data import Data
from signalprop.nets import DeepResidualStacks, DeepStacks
from signalprop.nets.orthogonal import haar
from signalprop.theory import second_moment, slope_second_moment
from signalprop.train.order import ShuffledBatches


class DeepClassifiers:
    r"""R classifiers: a fixed projection of the input, R stacks, and a readout of :math:`h_L` divided by a number.

    Logits are :math:`A h_L/s + b`. The readout A, b starts at zero. The number s is the root mean square of h_L over
    some examples at the start, one for each network and never below 1e-6, and then stays.

    Parameters
    ----------
    stacks
        The hidden part, R networks of width n.
    projections
        From d features to n, one a network, [R, n, d]; never trained.
    length
        Mean square of the entries of h_0 over the examples; the projections are scaled to it.
    examples
        The examples for both scales, [N, d], on the device of the stacks.
    outputs
        Number of classes.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> data = load_data("digits").standardized().flat()
    >>> sources = [stream("doc", "deep classifiers", r) for r in range(2)]
    >>> stacks = DeepStacks.drawn(50, 64, scheme="orthogonal", gain=1.05, generators=sources)
    >>> same = torch.eye(64).expand(2, -1, -1)
    >>> nets = DeepClassifiers(stacks, same, length=0.05, examples=data.train_x[:256], outputs=10)
    >>> run = fit_deep(nets, data, steps=60, batch=32, lr=torch.tensor([0.002, 0.002]), generators=sources)
    >>> bool((run.test_loss < 1).all()), run.weight_change.shape
    (True, torch.Size([2, 50]))
    """

    def __init__(
        self,
        stacks: DeepStacks | DeepResidualStacks,
        projections: Float[Tensor, "networks width features"],
        *,
        length: float,
        examples: Float[Tensor, "examples features"],
        outputs: int,
    ) -> None:
        weight = stacks.weights[0]
        self.stacks, self.networks, width = stacks, weight.shape[1], weight.shape[2]
        rms = (examples @ projections.mT).square().mean((1, 2), keepdim=True).sqrt()
        self.projections = projections * (math.sqrt(length) / rms)
        self.scale = weight.new_ones(self.networks, 1, 1)
        features = self.features(examples)
        self.scale = features.square().mean((1, 2), keepdim=True).sqrt().nan_to_num(nan=1.0).clamp(1e-6, 1e30)
        self.readout = weight.new_zeros(self.networks, outputs, width)
        self.offset = weight.new_zeros(self.networks, 1, outputs)

    def project(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "networks batch width"]:
        """Return h_0, of the same examples [batch, d] for all networks or of others for each, [R, batch, d]."""
        return x @ self.projections.mT

    def features(self, x: Float[Tensor, "examples features"]) -> Float[Tensor, "networks examples width"]:
        """Return h_L/s, computed in parts of 512 examples."""
        parts = [self.stacks.forward(self.project(part), keep=False) for part in x.split(512)]
        return torch.cat(parts, 1) / self.scale

    def logits(self, features: Float[Tensor, "networks batch width"]) -> Float[Tensor, "networks batch outputs"]:
        """Return the readout of features."""
        return torch.baddbmm(self.offset, features, self.readout.mT)

    def test(
        self, features: Float[Tensor, "networks examples width"], y: Int[Tensor, " examples"]
    ) -> tuple[Float[Tensor, " networks"], Float[Tensor, " networks"]]:
        """Return loss, at most that of guessing, and accuracy of each network; one that is not finite only guesses."""
        with torch.no_grad():
            output = self.logits(features)
            guess = math.log(output.shape[2])
            loss = _losses(output, y.expand(self.networks, -1)).double().nan_to_num(nan=guess).clamp(max=guess)
            return loss.cpu(), (output.argmax(2) == y).double().mean(1).cpu()


def tanh_classifiers(
    data: Data,
    depth: int,
    *,
    width: int,
    q: float,
    gain: float | None,
    scheme: str,
    generators: list[Generator],
) -> DeepClassifiers:
    r"""Return plain tanh networks of L layers, before training, one for each generator.

    Parameters
    ----------
    data
        Flat, on the device on which the networks shall lie.
    depth, width
        L and n.
    q
        Length of the signal: h_0 has the mean square of tanh at pre-activations of this variance.
    gain
        σ_w; None for the critical one at that length, :math:`\sigma_w^2 = 1/\E \varphi'^2`.
    scheme
        As for `DeepStack`, such as ``"orthogonal"`` or, for Gaussian weights, ``"lecun"``.
    generators
        One a network, of its projection (with orthonormal rows or columns) and its layers.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> nets = tanh_classifiers(load_data("digits").flat(), 100, width=16, q=0.1, gain=None, scheme="orthogonal",
    ...                         generators=[stream("doc", "tanh classifiers")])
    >>> bool(abs(nets.scale - 0.1**0.5) < 0.05)
    True
    """
    sigma_w = slope_second_moment("tanh", q).item() ** -0.5 if gain is None else gain
    features, where = data.train_x.shape[1], data.train_x.device
    projections = torch.stack([haar(width, features, g) for g in generators]).to(where, torch.float32)
    stacks = DeepStacks.drawn(depth, width, scheme=scheme, gain=sigma_w, generators=generators)
    return DeepClassifiers(
        DeepStacks(stacks.weights[0].to(where)),
        projections,
        length=second_moment("tanh", q).item(),
        examples=data.train_x[:512],
        outputs=len(data.classes),
    )


def residual_classifiers(
    data: Data, blocks: int, *, width: int, scheme: str, generators: list[Generator]
) -> DeepClassifiers:
    """Return residual networks of L blocks of two ReLU layers, before training, one for each generator.

    Parameters
    ----------
    data, width, generators
        As in `tanh_classifiers`; h_0 has mean square 1.
    blocks
        L.
    scheme
        ``"fixup"`` or ``"kaiming"``, as for `DeepResidualStack`.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> nets = residual_classifiers(load_data("digits").flat(), 100, width=16, scheme="fixup",
    ...                             generators=[stream("doc", "residual classifiers")])
    >>> f"{nets.scale.item():.4f}"
    '1.0000'
    """
    features, where = data.train_x.shape[1], data.train_x.device
    projections = torch.stack([haar(width, features, g) for g in generators]).to(where, torch.float32)
    stacks = DeepResidualStacks.drawn(blocks, width, scheme=scheme, generators=generators)
    first, second = (w.to(where) for w in stacks.weights)
    examples = data.train_x[:512]
    return DeepClassifiers(
        DeepResidualStacks(first, second), projections, length=1.0, examples=examples, outputs=len(data.classes)
    )


def with_constant(data: Data) -> Data:
    """Return flat data with a further feature that is 1: what takes the place of biases in the first layer.

    Examples
    --------
    >>> from signalprop import load_data
    >>> with_constant(load_data("digits").flat()).test_x[:2, -2:]
    tensor([[0., 1.],
            [0., 1.]])
    """
    train_x, test_x = (torch.cat([x, torch.ones_like(x[:, :1])], 1) for x in (data.train_x, data.test_x))
    return replace(data, train_x=train_x, test_x=test_x)


@dataclass(frozen=True)
class DeepRun:
    """What became of R networks.

    Attributes
    ----------
    loss
        On the mini-batch before each step, [R, steps]; not finite from where a network diverged.
    test_loss, test_accuracy
        After the last step, [R]; a loss above ln K, that of a guess among K classes, counts as ln K, and so does that
        of a network that diverged.
    weight_change
        ‖W_l − W_l(0)‖/‖W_l(0)‖ (Frobenius) of every layer, [R, L], or of both layers of a block together; infinite
        where a network diverged.
    """

    loss: Float[Tensor, "networks steps"]
    test_loss: Float[Tensor, " networks"]
    test_accuracy: Float[Tensor, " networks"]
    weight_change: Float[Tensor, "networks layers"]


def fit_deep(
    nets: DeepClassifiers,
    data: Data,
    *,
    steps: int,
    batch: int,
    lr: Float[Tensor, " networks"],
    generators: list[Generator],
    momentum: float = 0.9,
    readout_lr: float = 0.01,
    warm_up: int = 20,
    frozen: bool = False,
    progress: bool = False,
) -> DeepRun:
    """Train R deep classifiers at once: the hidden part by SGD with momentum, the readout by Adam.

    All rates grow linearly over the first `warm_up` steps and fall linearly to zero over the last 40 %.

    Parameters
    ----------
    nets
        The networks; trained in place.
    data
        Flat, on the device of the networks.
    steps, batch
        Number of steps, and examples a step.
    lr
        Learning rate of the hidden part, one a network.
    generators
        Of the order of the examples, one a network.
    momentum, readout_lr, warm_up
        As above.
    frozen
        Whether the hidden part stays as it was drawn. Its features are then computed once, and a step costs next to
        nothing.
    progress
        Whether to show a bar, on the standard error stream.

    Raises
    ------
    ValueError
        If there is not one rate and one generator for each network, or a batch is larger than the training part.
    """
    if not len(lr) == len(generators) == nets.networks:
        raise ValueError(f"got {nets.networks} networks, {len(lr)} learning rates and {len(generators)} generators")
    start = [w.clone() for w in nets.stacks.weights]
    orders = [ShuffledBatches(len(data.train_x), batch, generator, None) for generator in generators]
    nets.readout.requires_grad_()
    nets.offset.requires_grad_()
    optimizer = torch.optim.Adam([nets.readout, nets.offset], lr=readout_lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, warm_up))
    ready = nets.features(data.train_x) if frozen else None
    which = torch.arange(nets.networks, device=data.train_x.device)[:, None]
    losses = []
    for step in tqdm(range(steps), unit="step", disable=not progress):
        chosen = torch.stack([order.next() for order in orders]).to(data.train_x.device)
        if ready is None:
            features = nets.stacks.forward(nets.project(data.train_x[chosen])) / nets.scale
        else:
            features = ready[which, chosen]
        features.requires_grad_(not frozen)
        loss = _losses(nets.logits(features), data.train_y[chosen])
        optimizer.zero_grad()
        loss.sum().backward()
        if features.grad is not None:
            nets.stacks.descend(features.grad / nets.scale, lr * rate(step, steps, warm_up), momentum)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach().cpu())
    nets.readout.requires_grad_(False)
    nets.offset.requires_grad_(False)
    test_loss, accuracy = nets.test(nets.features(data.test_x), data.test_y)
    return DeepRun(torch.stack(losses, 1).double(), test_loss, accuracy, _change(nets.stacks.weights, start))


def rate(step: int, steps: int, warm_up: int) -> float:
    """Return the part of the full rate in a step: up over `warm_up` steps, level, down to zero over the last 40 %.

    Examples
    --------
    >>> [rate(step, 10, 2) for step in range(10)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    return min(1.0, (step + 1) / max(warm_up, 1), (steps - step) / (0.4 * steps))


def _losses(logits: Float[Tensor, "networks batch outputs"], y: Int[Tensor, "networks batch"]) -> Tensor:
    """Return the mean cross-entropy of each network."""
    return functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)


def _change(now: tuple[Tensor, ...], start: list[Tensor]) -> Float[Tensor, "networks layers"]:
    """Return the relative change of the weights of each layer."""
    moved = torch.stack([(w - w0).square().sum((2, 3)) for w, w0 in zip(now, start, strict=True)]).sum(0)
    size = torch.stack([w0.square().sum((2, 3)) for w0 in start]).sum(0)
    return (moved / size).sqrt().nan_to_num(nan=math.inf).T.double().cpu()


def tenths_of_depth(
    nets: DeepClassifiers, fresh: DeepClassifiers, run: DeepRun, data: Data
) -> tuple[Float[Tensor, "networks tenths"], Float[Tensor, "networks tenths"], Float[Tensor, " networks"]]:
    """Return, for each tenth of the depth, how far its weights moved and what the network loses without that.

    Parameters
    ----------
    nets, run
        Networks after training, and what `fit_deep` returned.
    fresh
        The same networks, drawn anew.
    data
        Its test part is used.

    Returns
    -------
    tuple
        The median of ``run.weight_change`` over the layers of each tenth, [R, 10], lowest layers first; the test loss
        with the hidden weights of one tenth reset to their start and all else as trained, [R, 10]; that with all hidden
        weights reset, [R].
    """
    layers = run.weight_change.shape[1]
    parts = [slice(tenth * layers // 10, (tenth + 1) * layers // 10) for tenth in range(10)]
    change = torch.stack([run.weight_change[:, part].median(1).values for part in parts], 1)

    def loss_without(part: slice) -> Float[Tensor, " networks"]:
        trained = [w[part].clone() for w in nets.stacks.weights]
        for w, start in zip(nets.stacks.weights, fresh.stacks.weights, strict=True):
            w[part] = start[part]
        loss, _ = nets.test(nets.features(data.test_x), data.test_y)
        for w, before in zip(nets.stacks.weights, trained, strict=True):
            w[part] = before
        return loss

    return change, torch.stack([loss_without(part) for part in parts], 1), loss_without(slice(None))


def gradient_ratio(
    nets: DeepClassifiers, x: Float[Tensor, "batch features"], generator: Generator
) -> Float[Tensor, " networks"]:
    """Return the norm of a random gradient in h_0 over that in h_L, on these examples, for each network.

    The weights are left as they are.
    """
    nets.stacks.forward(nets.project(x))
    shape = (nets.networks, len(x), nets.projections.shape[1])
    gradient = torch.randn(shape, generator=generator).to(x.device)
    below = nets.stacks.descend(gradient, torch.zeros(nets.networks), 0.0)
    ratio: Tensor = below.norm(dim=(1, 2)) / gradient.norm(dim=(1, 2))
    return ratio.double().cpu()
