"""Networks in law against explicit weights: by two-sample tests, and exactly where the law leaves no freedom."""

import math
from dataclasses import dataclass

import pytest
import torch
from scipy.stats import ks_2samp

from signalprop import stream
from signalprop.measure import LawSample, sample_law

SLOPES = {"tanh": lambda z: torch.cosh(z) ** -2, "relu": lambda z: (z > 0).to(z.dtype)}
NETWORKS = 4000
GATE = 1e-5  # for one of about 60 two-sample tests, so that one run in a thousand or fewer fails by chance


def explicit_weights(widths, act, x, sigma_w2, sigma_b2, replicates, generator, sent_back=lambda w, h, normal: w):
    """Draw R networks with all their weights, send x forward and standard normal errors back: the O(n²) way.

    `sent_back` returns the weights that carry the errors back: those of the forward pass, unless it is to be wrong.
    """

    def normal(*shape):
        return torch.randn(replicates, *shape, generator=generator, dtype=x.dtype)

    depth = len(widths) - 1
    h, z, w = [x.expand(replicates, *x.shape)], [], []
    for layer in range(depth):
        w.append(normal(widths[layer + 1], widths[layer]) * math.sqrt(sigma_w2 / widths[layer]))
        z.append(h[-1] @ w[-1].mT + normal(1, widths[layer + 1]) * math.sqrt(sigma_b2))
        h.append(getattr(torch, act)(z[-1]))
    g = [normal(len(x), widths[-1])]
    for layer in range(depth - 1, 0, -1):
        g.append(SLOPES[act](z[layer - 1]) * (g[-1] @ sent_back(w[layer], h[layer], normal)))
    signal, error, received = (torch.stack([v @ v.mT for v in vectors], 1) for vectors in (z, g[::-1], h[:depth]))
    return LawSample((signal / torch.tensor(widths[1:])[:, None, None]).double(), error.double(), error * received)


@dataclass(frozen=True)
class Case:
    """A network and inputs for it."""

    act: str
    hidden: tuple[int, ...]
    x: list[list[float]]
    sigma_w2: float
    sigma_b2: float = 0.0
    depth: int = 32
    dtype: torch.dtype = torch.float64

    def arguments(self, name):
        hidden = (self.hidden * self.depth)[: self.depth - 1]
        x = torch.tensor(self.x, dtype=self.dtype)
        settings = {"x": x, "sigma_w2": self.sigma_w2, "sigma_b2": self.sigma_b2, "replicates": NETWORKS}
        return {"widths": [x.shape[1], *hidden, 6], "act": self.act, "generator": stream("tests", name)} | settings

    def in_law(self, name, **changes):
        return sample_law(**self.arguments(f"law {name}") | {"output_error": "normal"} | changes)

    def explicit(self, name, **changes):
        return explicit_weights(**self.arguments(f"weights {name}") | changes)


PAIR = [[1.0, -0.5, 0.7], [0.3, 0.9, -1.1]]
CASES = {
    "critical tanh": Case("tanh", (12, 8, 10), PAIR, 1.0),
    "chaotic tanh with biases": Case("tanh", (9, 12), PAIR, 4.0, 0.1),
    "collapsing ReLU": Case("relu", (16, 10, 13), PAIR, 2.0, depth=40),
    "collapsing ReLU in float32": Case("relu", (10, 14), PAIR, 2.0, dtype=torch.float32),
    "ReLU with biases": Case("relu", (8, 11), PAIR, 1.9, 0.2),
    "collapsed from the start": Case("tanh", (10, 8), [[1.0, 2.0], [1.0, 2.0 + 1e-12]], 0.8, 0.3, depth=12),
    "zero, equal and opposite": Case(
        "tanh", (8, 10), [[0.5, 1.0], [0.0, 0.0], [0.5, 1.0], [-0.5, -1.0]], 3.0, depth=12
    ),
    "the same with biases": Case(
        "tanh", (8, 10), [[0.5, 1.0], [0.0, 0.0], [0.5, 1.0], [-0.5, -1.0]], 3.0, 0.2, depth=12
    ),
    "more inputs than units": Case("tanh", (1, 3, 2, 2), [[1.0], [-2.0], [0.4]], 3.0, 0.3, depth=12),
}


def statistics(sample):
    """Numbers of one network, of which two samples are compared; dead networks have −∞ and a correlation of 2.

    Cosines are rounded: networks with one live unit have ±1, up to rounding, which is not part of the law.
    """
    q, g = sample.second_moment.log(), sample.error_square.log()
    half = q.shape[1] // 2
    error_size = sample.error_square.sqrt()
    cosines = sample.error / error_size[..., None] / error_size[..., None, :]
    return {
        "last q": q[:, -1, 0],
        "last c": sample.correlation[:, -1, 0, -1].round(decimals=4).nan_to_num(2),
        "c between": sample.correlation[:, 2, 0, -1].round(decimals=4).nan_to_num(2),
        "first error": g[:, 0, 0],
        "its cosine": cosines[:, 0, 0, -1].round(decimals=4).nan_to_num(2),
        "weight gradient between": sample.weight_square[:, half].log(),
        "signal and error": (q[:, -1, 0] + g[:, 0, 0]).nan_to_num(-math.inf),
        "signal against error": (q[:, half, 0] - g[:, half, 0]).nan_to_num(-math.inf),
    }


def smallest_p(a, b):
    """The p-value of the statistic that differs most, with its name."""
    a, b = statistics(a), statistics(b)
    # the limit law of Kolmogorov and Smirnov; with ties, of dead networks, it rejects too seldom
    return min((ks_2samp(a[name], b[name], method="asymp").pvalue, name) for name in a)


@pytest.mark.parametrize("name", CASES)
def test_the_law_is_that_of_explicit_weights(name):
    p, statistic = smallest_p(CASES[name].in_law(name), CASES[name].explicit(name))
    assert p > GATE, statistic


def _spanned(h):
    basis = torch.linalg.qr(h.mT)[0]
    return basis @ basis.mT


WRONG = {
    "fresh weights on the way back": lambda w, h, normal: normal(*w.shape[1:]) / math.sqrt(w.shape[2]),
    "no projection of the fresh part": lambda w, h, normal: (
        w + normal(*w.shape[1:]) @ _spanned(h) / math.sqrt(w.shape[2])
    ),
    "only what the signal met": lambda w, h, normal: w @ _spanned(h),
    "variance by the fan-out": lambda w, h, normal: w * math.sqrt(w.shape[2] / w.shape[1]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_same_gate_rejects_wrong_ways_back(wrong):
    case = CASES["critical tanh"]
    p, _ = smallest_p(case.in_law(wrong), case.explicit(wrong, sent_back=WRONG[wrong]))
    assert p < GATE


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("critical tanh", {"sigma_w2": 1.03}),
        ("ReLU with biases", {"sigma_b2": 0.3}),
        ("ReLU with biases", {"x": torch.tensor(PAIR, dtype=torch.float64) * torch.tensor([[1.0], [-1.0]])}),
    ],
)
def test_the_same_gate_rejects_other_networks(name, changes):
    p, _ = smallest_p(CASES[name].in_law("other", **changes), CASES[name].explicit("other"))
    assert p < GATE


def test_the_explicit_way_back_is_that_of_autograd():
    """So the reference is right about errors and weight gradients."""
    seen = []

    def recorded(w, h, normal):
        seen.append(w)
        return w

    x = torch.tensor(PAIR, dtype=torch.float64)
    settings = {"widths": [3, 4, 5, 2], "act": "tanh", "x": x, "sigma_w2": 1.5, "sigma_b2": 0.0, "replicates": 1}
    sample = explicit_weights(**settings, generator=stream("tests", "autograd"), sent_back=recorded)
    source = stream("tests", "autograd")
    w1 = torch.randn(4, 3, generator=source, dtype=torch.float64) * math.sqrt(1.5 / 3)
    z1 = (x @ w1.T).requires_grad_()
    z2 = torch.tanh(z1) @ seen[1][0].T
    z3 = torch.tanh(z2) @ seen[0][0].T
    for shape in [(1, 4), (5, 4), (1, 5), (2, 5), (1, 2)]:  # skip what is drawn before the error
        torch.randn(1, *shape, generator=source, dtype=torch.float64)
    error = torch.randn(1, 2, 2, generator=source, dtype=torch.float64)[0]
    g1, g2 = torch.autograd.grad((z3 * error).sum(), [z1, z2])
    torch.testing.assert_close(sample.error[0], torch.stack([g @ g.T for g in (g1, g2, error)]))
    torch.testing.assert_close(sample.weight_square[0, 1], (g2.T @ torch.tanh(z1)).square().sum())


@pytest.mark.parametrize("sigma_b2", [0.0, 0.4])
def test_where_inputs_determine_the_weights_errors_are_those_of_autograd(sigma_b2):
    """With more inputs than units no freedom is left: W follows from what the law drew forward."""
    widths, networks = [3, 4, 2, 3, 4, 5], 3
    x = torch.randn(7, 3, generator=stream("tests", "determined"), dtype=torch.float64)
    drawn = []

    def act(z):
        if z.ndim == 3 and not z.requires_grad and len(drawn) < 4:  # on the way forward
            drawn.append(z)
        return torch.tanh(z)

    def loss_slope(z):
        drawn.append(z)
        return z - 0.3

    sample = sample_law(
        widths,
        act,
        x=x,
        sigma_w2=[1.5, 2.0, 3.0, 1.0, 2.5],
        sigma_b2=sigma_b2,
        replicates=networks,
        generator=stream("tests", "determined", 1),
        output_error=loss_slope,
    )
    for network in range(networks):
        h, weights, outputs = x, [], []
        for z in (layer[network] for layer in drawn):
            if sigma_b2:
                h = torch.cat([h, torch.ones(7, 1, dtype=torch.float64)], 1)
            w = torch.linalg.lstsq(h, z).solution.T.requires_grad_()
            torch.testing.assert_close(h @ w.T, z, rtol=0, atol=1e-10)
            weights.append(w)
            h = torch.tanh(z)
        h = x
        for w in weights:
            outputs.append(h @ w[:, : h.shape[1]].T + w[:, h.shape[1] :].sum(1))
            h = torch.tanh(outputs[-1])
        losses = (outputs[-1] - 0.3).square().sum(1) / 2
        errors = torch.autograd.grad(losses.sum(), outputs, retain_graph=True)
        each = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
        for layer, fan_in in enumerate(widths[:-1]):
            gradients = torch.stack([g[layer][:, :fan_in].flatten() for g in each])
            for ours, true in [
                (sample.signal, outputs[layer] / math.sqrt(widths[layer + 1])),
                (sample.error, errors[layer]),
                (sample.weight, gradients),
            ]:
                gram = (true @ true.T).detach()
                torch.testing.assert_close(ours[network, layer], gram, rtol=0, atol=1e-9 * gram.abs().max().item())


def normal_law(widths, x, **options):
    usual = {"act": "tanh", "sigma_w2": 2.0, "replicates": 3, "output_error": "normal"}
    return sample_law(widths, x=x, **(usual | {"generator": stream("tests", "law")} | options))


@pytest.mark.parametrize("width", [1, 5, 40, 333])
def test_equal_inputs_stay_equal_through_chaos(width):
    """A difference in the last bit would grow to order one within a hundred such layers."""
    one, other = torch.randn(2, 1, 3, generator=stream("tests", "equal"), dtype=torch.float64)
    sample = normal_law([3] + [width] * 200, torch.cat([one, other, one]), sigma_w2=16.0, output_error=None)
    assert torch.equal(sample.signal[..., 0, 2], sample.signal[..., 0, 0])
    assert torch.equal(sample.signal[..., 1, 2], sample.signal[..., 1, 0])


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_opposite_inputs_stay_opposite(width):
    one, other = torch.randn(2, 1, 3, generator=stream("tests", "opposite"), dtype=torch.float64)
    sample = normal_law([3] + [width] * 30, torch.cat([one, other, -one]))
    torch.testing.assert_close(sample.signal[..., 0, 2], -sample.signal[..., 0, 0], rtol=1e-6, atol=0)
    torch.testing.assert_close(sample.signal[..., 1, 2], -sample.signal[..., 1, 0], rtol=1e-6, atol=1e-6)


def test_one_layer_has_the_given_error():
    x = torch.tensor(PAIR, dtype=torch.float64)
    error = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=torch.float64)
    sample = normal_law([3, 2], x, output_error=error)
    assert torch.equal(sample.error, (error @ error.T).expand(3, 1, 2, 2))
    torch.testing.assert_close(sample.weight, ((error @ error.T) * (x @ x.T)).expand(3, 1, 2, 2))


def test_derived_statistics_are_parts_of_the_inner_products():
    sample = normal_law([3, 8, 8, 2], torch.tensor(PAIR, dtype=torch.float64))
    assert torch.equal(sample.second_moment[..., 1], sample.signal[..., 1, 1])
    cosine = sample.signal[..., 0, 1] / (sample.signal[..., 0, 0] * sample.signal[..., 1, 1]).sqrt()
    torch.testing.assert_close(sample.correlation[..., 1, 0], cosine)
    assert torch.equal(sample.error_square[..., 0], sample.error[..., 0, 0])
    torch.testing.assert_close(sample.weight_square, sample.weight.sum(-1).sum(-1))


def test_zero_inputs_and_zero_errors_are_zero_all_the_way():
    sample = normal_law([3, 5, 5, 2], torch.zeros(2, 3), output_error=torch.zeros(2, 2))
    assert not any(gram.any() for gram in (sample.signal, sample.error, sample.weight))
    assert sample.correlation.isnan().all()


def test_dead_networks_are_zero_and_nothing_else():
    sample = normal_law([2] + [1] * 30, torch.ones(2, 2), act="relu", replicates=100)
    assert not sample.signal[:, -1].any()
    assert sample.error.isfinite().all()
    assert sample.weight.isfinite().all()


def test_only_the_way_forward():
    x = torch.tensor(PAIR)
    sample = normal_law([3, 8, 2], x, output_error=None)
    assert (sample.error, sample.weight, sample.error_square, sample.weight_square) == (None,) * 4
    assert torch.equal(sample.signal, normal_law([3, 8, 2], x).signal)


def test_a_generator_makes_the_same_networks_again():
    x = torch.tensor(PAIR)
    first, again = normal_law([3, 8, 8, 2], x), normal_law([3, 8, 8, 2], x)
    other = normal_law([3, 8, 8, 2], x, generator=stream("tests", "law", 1))
    assert torch.equal(first.weight, again.weight)
    assert not torch.isclose(first.weight, other.weight).any()
    assert first.weight_square.flatten().unique().numel() == 9  # replicates and layers are drawn apart


def test_inputs_and_parameters_keep_no_graph():
    x, error = torch.tensor(PAIR, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    sample = normal_law([3, 8, 2], x, act=torch.nn.PReLU(dtype=torch.float64), dtype=torch.float64, output_error=error)
    assert not any(gram.requires_grad for gram in (sample.signal, sample.error, sample.weight))
    assert torch.equal(error, torch.ones(2, 2))


def test_errors_grow_beyond_the_range_of_float32_within_it():
    x = torch.tensor(PAIR)
    single, double = (normal_law([3] + [300] * 120, x, sigma_w2=30.0, dtype=d) for d in (torch.float32, torch.float64))
    assert single.error.dtype == torch.float64
    assert single.error_square[:, 0].min() > 1e40
    rates = [sample.error_square[:, 0].log().mean() / 120 for sample in (single, double)]
    torch.testing.assert_close(*rates, rtol=0.1, atol=0)


@pytest.mark.parametrize(("sigma_w2", "dtype"), [(1e8, torch.float32), (1e-8, torch.float32), (1e-60, torch.float64)])
def test_signals_beyond_the_range_are_refused(sigma_w2, dtype):
    with pytest.raises(ValueError, match=r"the signal of layer \d+ leaves the range of torch.float") as refusal:
        normal_law([3] + [8] * 10, torch.ones(1, 3), act="linear", sigma_w2=sigma_w2, dtype=dtype)
    assert ("dtype=torch.float64" in str(refusal.value)) == (dtype == torch.float32)


X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": [3]}, "at least two"),
        ({"x": torch.ones(2, 4)}, r"x has shape \[2, 4\]; it must be \[B, 3\]"),
        ({"x": torch.ones(0, 3)}, r"x has shape \[0, 3\]"),
        ({"x": X * math.nan}, "x holds NaN"),
        ({"dtype": torch.float16}, "not in torch.float16"),
        ({"replicates": 0}, "replicates must be at least 1"),
        ({"sigma_w2": 0.0}, "sigma_w2 must be positive"),
        ({"sigma_w2": math.nan}, "sigma_w2 must be finite"),
        ({"sigma_w2": [1.0]}, "sigma_w2 has 1 entries for 2 layers"),
        ({"sigma_b2": -1.0}, "sigma_b2 must be finite and not negative"),
        ({"act": "tangent"}, "unknown activation"),
        ({"output_error": "uniform"}, "unknown output_error 'uniform'"),
        ({"output_error": torch.ones(2, 5)}, r"is \[2, 5\] on cpu; it must be \[2, 2\] on cpu"),
        ({"output_error": lambda z: z[0]}, r"it must be \[3, 2, 2\]"),
        ({"output_error": lambda z: z.sum().item()}, "the output error is float"),
        ({"output_error": torch.full((2, 2), math.inf)}, "output error holds NaN or infinity"),
    ],
)
def test_bad_input_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        normal_law(**({"widths": [3, 4, 2], "x": X} | changes))
