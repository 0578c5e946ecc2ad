"""A training step of a 10,000-layer network: `DeepStack` against a chain of layers, its own products, and JAX."""

import torch
from timing import Row, at_least, at_most, ratios
from torch import nn
from torch.nn import functional

from signalprop import stream
from signalprop.nets import DeepStack

DEPTH, LR = 10_000, 1e-6
SPEED = {32: 3.0, 64: 2.0, 128: 1.3}
FLOOR = {32: 2.6, 64: 2.0, 128: 1.4}


def stack(width: int) -> DeepStack:
    """Return an orthogonal tanh network of equal width, with SGD in its backward pass."""
    net = DeepStack(DEPTH, width, "tanh", scheme="orthogonal", gain=1.0, generator=stream("benchmarks", "deep stack"))
    net.fused_lr = LR
    return net


def batch(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return as many examples as units, and labels."""
    source = stream("benchmarks", "batch")
    x = 0.1 * torch.randn(width, width, generator=source)
    return x, torch.randint(width, (width,), generator=source)


def measure() -> list[Row]:
    """Return a row for each width and opponent."""
    rows = []
    for width in SPEED:
        net, (x, y) = stack(width), batch(width)

        def step(net=net, x=x, y=y) -> None:
            functional.cross_entropy(net(x), y).backward()

        what = f"`DeepStack` step, {DEPTH:,} layers, n = B = {width}"
        against = ("`nn.Sequential` + `torch.optim.SGD`", "its matrix products and the weight update", "JAX `lax.scan`")
        rows.append(at_least(what, against[0], SPEED[width], ratios(chain_step(width), step, 5)))
        rows.append(at_most("the same", against[1], FLOOR[width], ratios(step, products(width), 5)))
        try:
            rows.append(at_least("the same", against[2], 1.0, ratios(scan_step(width), step, 5)))
        except ImportError:
            rows.append(Row("the same", against[2], "faster", "not measured", None, "JAX is not installed here"))
    return rows


def chain_step(width: int):
    """Return a step of the same network as a chain of `nn.Linear`."""
    source = stream("benchmarks", "deep stack")
    twin = DeepStack(DEPTH, width, "tanh", scheme="orthogonal", gain=1.0, generator=source)
    chain = nn.Sequential(*(part for w in twin.weight.detach() for part in (_linear(w), nn.Tanh())))
    optimizer = torch.optim.SGD(chain.parameters(), lr=LR)
    x, y = batch(width)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(chain(x), y).backward()
        optimizer.step()

    return step


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape, bias=False)
    layer.weight = nn.Parameter(weight.clone())
    return layer


def products(width: int):
    """Return the floor: the products of the two passes one by one, those for the weights and their update in one."""
    weight = stack(width).weight.detach()
    signals = 0.1 * torch.randn(DEPTH + 1, width, width, generator=stream("benchmarks", "signals"))
    errors = 0.1 * torch.randn(DEPTH, width, width, generator=stream("benchmarks", "errors"))
    layers, transposed = weight.unbind(), [w.T for w in weight.unbind()]
    h, g = signals.unbind(), errors.unbind()

    def step() -> None:
        for below, w, above in zip(h[:-1], transposed, h[1:], strict=True):
            torch.mm(below, w, out=above)
        for above, w, below in zip(g[:0:-1], layers[:0:-1], g[-2::-1], strict=True):
            torch.mm(above, w, out=below)
        torch.baddbmm(weight, errors.mT, signals[:-1], alpha=-LR, out=weight)

    return step


def scan_step(width: int):
    """Return a jitted step of the same network in JAX, weights updated in place."""
    import jax
    import jax.numpy as jnp

    weight = jnp.asarray(stack(width).weight.detach().numpy())
    x, y = (jnp.asarray(part.numpy()) for part in batch(width))

    def loss(weight):
        output, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w.T), None), x, weight)
        return -jax.nn.log_softmax(output)[jnp.arange(width), y].mean()

    update = jax.jit(lambda weight: weight - LR * jax.grad(loss)(weight), donate_argnums=0)
    state = [weight]

    def step() -> None:
        state[0] = update(state[0]).block_until_ready()

    return step
