"""Greedy layer-wise pre-training: every hidden layer first learns to describe what it receives.

References
----------
G. Hinton, R. Salakhutdinov, *Reducing the dimensionality of data with neural networks*, 2006; Y. Bengio, P. Lamblin,
D. Popovici, H. Larochelle, *Greedy layer-wise training of deep networks*, 2006.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from signalprop.data import Data
from signalprop.nets import MLP, Elementwise
from signalprop.train.loop import History, fit


def pretrain_(
    module: nn.Module, data: Data, *, steps: int, batch: int, lr: float, generator: Generator
) -> list[History]:
    r"""Train each hidden layer as the encoder of an autoencoder, from the bottom up, and return what happened.

    A layer :math:`h = \varphi(Wx + b)` is followed by a decoder with the transposed weights, :math:`W^\top h + c`, and
    trained by plain SGD to give its own input back; then its outputs for the whole training part are the inputs of the
    next. Where all inputs of a layer lie in [0, 1], as pixels and logistic units do, the decoder ends in the logistic
    function and the loss is the cross-entropy, else it is the squared error; both are summed over the inputs and
    averaged over examples. c starts at zero and is thrown away.

    The weights are tied because a decoder of its own could make up with large weights for a signal that the encoder
    lets shrink. A shrunken signal is what pre-training is to cure.

    Parameters
    ----------
    module
        An `MLP` without normalizers, with at least one hidden layer. Weights and biases of its hidden layers are set in
        place, in the end; the output layer, modes and ``.grad`` stay.
    data
        Its training inputs, [examples, n_0], on the device of `module`; labels are not looked at.
    steps, batch
        Steps for each layer, and examples a step.
    lr
        The step size of SGD.
    generator
        Of the order of the examples, on the CPU.

    Returns
    -------
    list
        The `History` of each hidden layer's reconstruction loss.

    Raises
    ------
    ValueError
        If the module is not as above, the inputs are not n_0 wide or not finite, a batch is empty or larger than the
        training part, or a layer diverges. The module is left unchanged then.

    Examples
    --------
    >>> from signalprop import load_data, stream
    >>> net = MLP([64, 16, 8, 10], "sigmoid", bias=True, scheme="xavier", gain=1.0, generator=stream("doc", "net"))
    >>> data = load_data("digits").flat()
    >>> first, second = pretrain_(net, data, steps=100, batch=32, lr=0.1, generator=stream("doc", "pretrain"))
    >>> bool(first.loss[-1] < 0.7 * first.loss[0])
    True
    """
    layers = _hidden_layers(module)
    x, inputs = data.train_x, layers[0][0].in_features
    if x.ndim != 2 or x.shape[1] != inputs or not x.isfinite().all():
        raise ValueError(
            f"training inputs must have shape [examples, {inputs}] and be finite, got shape {list(x.shape)}"
        )
    histories, trained = [], []
    for number, (layer, act) in enumerate(layers, start=1):
        logistic = bool(((data.train_x >= 0) & (data.train_x <= 1)).all())
        autoencoder = _Autoencoder(layer, act, logistic=logistic)
        optimizer = torch.optim.SGD(autoencoder.parameters(), lr=lr)
        history = fit(autoencoder, data, optimizer, steps=steps, batch=batch, generator=generator, loss_fn=_as_it_is)
        if history.diverged:
            raise ValueError(
                f"layer{number} diverged in step {len(history.loss)} at lr={lr:g}; take a smaller lr. The network is"
                " unchanged"
            )
        histories.append(history)
        trained.append(autoencoder)
        with torch.no_grad():
            data = replace(data, train_x=autoencoder.encode(data.train_x), test_x=autoencoder.encode(data.test_x))
    with torch.no_grad():
        for (layer, _), autoencoder in zip(layers, trained, strict=True):
            layer.weight.copy_(autoencoder.weight)
            if layer.bias is not None and autoencoder.bias is not None:
                layer.bias.copy_(autoencoder.bias)
    return histories


class _Autoencoder(nn.Module):
    """A copy of a layer with its activation, and the transposed layer that leads back; the output is the loss."""

    def __init__(self, layer: nn.Linear, act: Elementwise, *, logistic: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.back = nn.Parameter(layer.weight.detach().new_zeros(layer.in_features))
        self.act, self.logistic = act.act, logistic

    def encode(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch units"]:
        return self.act(functional.linear(x, self.weight, self.bias))

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, ""]:
        returned = functional.linear(self.encode(x), self.weight.T, self.back)
        if self.logistic:
            return functional.binary_cross_entropy_with_logits(returned, x, reduction="sum") / len(x)
        return (returned - x).square().sum() / len(x)


def _as_it_is(loss: Tensor, labels: Tensor) -> Tensor:
    return loss


def _hidden_layers(module: nn.Module) -> list[tuple[nn.Linear, Elementwise]]:
    """Return the hidden layers from the bottom up, each with its activation."""
    if not isinstance(module, MLP):
        raise ValueError(f"greedy pre-training is for an MLP, got a {type(module).__name__}")
    *parts, _ = module
    if not parts:
        raise ValueError("the network has no hidden layer to pre-train, only the output layer")
    layers = []
    for layer, act in zip(parts[::2], parts[1::2], strict=False):
        # the exact types: a parametrized layer is of a subclass
        if type(layer) is not nn.Linear or not isinstance(act, Elementwise):
            raise ValueError(
                "greedy pre-training is for layers without normalizers of signals or weights, got"
                f" {type(layer).__name__} and {type(act).__name__}"
            )
        layers.append((layer, act))
    return layers
