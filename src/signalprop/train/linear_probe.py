"""What a linear classifier reads from features."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


def linear_probe(
    train_x: Float[Tensor, "train features"],
    train_y: Int[Tensor, " train"],
    test_x: Float[Tensor, "test features"],
    test_y: Int[Tensor, " test"],
    *,
    classes: int,
    iterations: int = 200,
) -> tuple[float, float]:
    """Fit softmax regression to its minimum by L-BFGS, and return its test loss and accuracy.

    The features are standardized, each with mean and standard deviation of the training part. Nothing is regularized,
    and nothing is drawn: weights start at zero.

    Parameters
    ----------
    train_x, train_y, test_x, test_y
        Features and labels.
    classes
        Number of classes.
    iterations
        Of L-BFGS, at most.

    Examples
    --------
    >>> from signalprop import load_data
    >>> data = load_data("digits").flat()
    >>> loss, accuracy = linear_probe(data.train_x, data.train_y, data.test_x, data.test_y, classes=10, iterations=10)
    >>> accuracy > 0.85
    True
    """
    spread, mean = torch.std_mean(train_x, 0, correction=0)
    train_x, test_x = ((x - mean) / spread.clamp_min(1e-12) for x in (train_x, test_x))
    layer = nn.Linear(train_x.shape[1], classes).to(train_x.device, train_x.dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(layer(train_x), train_y)
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        output = layer(test_x)
        accuracy = (output.argmax(1) == test_y).double().mean().item()
        return functional.cross_entropy(output, test_y).item(), accuracy
