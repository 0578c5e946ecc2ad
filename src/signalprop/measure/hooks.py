"""See every innermost call of a module, with hooks that are always removed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from signalprop.nets import Elementwise

Before = Callable[[nn.Module, tuple[Any, ...]], Any]
After = Callable[[str, nn.Module, Any], Any]


@contextmanager
def innermost_calls(module: nn.Module, after: After, before: Before | None = None) -> Iterator[None]:
    """Watch the calls inside which no other module is called, as long as the context lasts.

    An activation that is a module belongs to its `Elementwise`, and a parametrization to the layer whose weight it
    makes. An exception in the context gets a note that names the module in which it was raised.

    Parameters
    ----------
    module
        Any module.
    after
        Called as ``after(name, layer, output)`` at the end of an innermost call. The second call of one module is
        ``"name (2)"``; the module itself, where it is the innermost, has the name of its class. What it returns
        replaces the output, if it is not None.
    before
        Called as ``before(layer, inputs)`` at the start of every call, innermost or not. What it returns replaces the
        positional inputs, if it is not None.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> with innermost_calls(net, lambda name, layer, output: print(name, list(output.shape))):
    ...     _ = net(torch.ones(5, 3))
    0 [5, 2]
    1 [5, 2]
    """
    names = {layer: name or type(module).__name__ for name, layer in _watched(module)}
    counts: dict[str, int] = {}
    running: list[tuple[nn.Module, bool]] = []

    def start(layer: nn.Module, inputs: tuple[Any, ...]) -> Any:
        if running:
            running[-1] = (running[-1][0], False)
        running.append((layer, True))
        return before(layer, inputs) if before else None

    def end(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        _, innermost = running.pop()
        if not innermost:
            return None
        name = names[layer]
        counts[name] = counts.get(name, 0) + 1
        return after(name if counts[name] == 1 else f"{name} ({counts[name]})", layer, output)

    with ExitStack() as handles:
        for layer in names:
            handles.enter_context(layer.register_forward_pre_hook(start))
            handles.enter_context(layer.register_forward_hook(end))
        try:
            yield
        except Exception as error:
            if running:
                error.add_note(f"raised in the module {names[running[-1][0]]}")
            raise


def _watched(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that may be innermost, by qualified name; nothing inside activations and parametrizations."""
    hidden: set[nn.Module] = set()
    for name, layer in module.named_modules():
        if layer in hidden:
            continue
        yield name, layer
        if isinstance(layer, Elementwise):
            hidden.update(inner for inner in layer.modules() if inner is not layer)
        elif parametrize.is_parametrized(layer):
            hidden.update(layer.parametrizations.modules())
