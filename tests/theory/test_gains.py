import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch import nn

from signalprop import stream
from signalprop.theory import ACTIVATIONS, Activation, activation, audit_gain, gain, leaky_relu

# What torch's users write, audited from q_0 = 1 over 100 layers
TORCH = nn.init.calculate_gain
HE = TORCH("relu")
DEFAULT = 3**-0.5  # nn.Linear: U(±1/√fan_in)


def moved(name, scale, shift):
    """a φ + b."""
    phi = activation(name)
    return Activation(
        "moved", lambda x: scale * phi.function(x) + shift, lambda x: scale * phi.slope(x), phi.curvature, phi.kinks
    )


# Gains


@pytest.mark.parametrize(
    ("act", "figure"),
    [
        ("relu", "1.41421356237"),
        ("leaky_relu", "1.414142857"),
        ("tanh", "1.59253741972"),
        ("erf", "1.46716695049"),
        ("hardtanh", "1.39203614045"),
        ("gelu", "1.5335304412"),
        ("gelu_tanh", "1.53358052167"),
        ("silu", "1.67653247033"),
        ("elu", "1.2451983007"),
        ("mish", "1.48684758127"),
    ],
)
def test_second_moment_gains_of_the_book(act, figure):
    assert f"{gain(act):.{len(figure) - 2}f}" == figure


@pytest.mark.parametrize(
    ("act", "figure"), [("relu", "1.71285855045"), ("silu", "1.7871872221"), ("gelu", "1.70092624336")]
)
def test_centred_gains_of_the_book(act, figure):
    assert f"{gain(act, 'centred'):.{len(figure) - 2}f}" == figure


def test_constants_of_normalizer_free_networks_are_estimates():
    """Published γ against the exact ones: 3e-4 to 7e-4 too large."""
    for act, shipped in (("relu", 1.71395886), ("silu", 1.78812933), ("gelu", 1.70150435)):
        assert 3e-4 < shipped / gain(act, "centred") - 1 < 7e-4


def test_closed_forms():
    assert gain("linear") == pytest.approx(1, rel=1e-12)
    assert gain("relu") == pytest.approx(2**0.5, rel=1e-12)
    assert gain("relu", "backward") == pytest.approx(2**0.5, rel=1e-12)
    assert gain("relu", "centred") == pytest.approx((2 / (1 - 1 / math.pi)) ** 0.5, rel=1e-12)
    for slope in (0.01, 0.3, 1.0, -1.0):
        assert gain(leaky_relu(slope)) == pytest.approx((2 / (1 + slope**2)) ** 0.5, rel=1e-12)
    assert gain("erf") == pytest.approx((2 / math.pi * math.asin(2 / 3)) ** -0.5, rel=1e-12)
    assert gain("erf", "backward") == pytest.approx((4 / math.pi / 5**0.5) ** -0.5, rel=1e-12)
    inside = math.erf(0.5**0.5)
    hard = inside - 2 * math.exp(-0.5) / (2 * math.pi) ** 0.5 + (1 - inside)
    assert gain("hardtanh") == pytest.approx(hard**-0.5, rel=1e-12)
    assert gain("hardtanh", "backward") == pytest.approx(inside**-0.5, rel=1e-12)


def test_selu_is_made_for_gain_one():
    """Zero mean and unit variance are its fixed point, so forward gains are 1; the backward gain is not."""
    assert gain("selu") == pytest.approx(1, abs=1e-11)
    assert gain("selu", "centred") == pytest.approx(1, abs=1e-11)
    assert gain("selu", "backward") < 0.97


SMOOTH = {
    "tanh": mpmath.tanh,
    "lecun_tanh": lambda x: mpmath.mpf(1.7159) * mpmath.tanh(2 * x / 3),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "gelu": lambda x: x * mpmath.ncdf(x),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
}


@pytest.mark.parametrize("name", list(SMOOTH))
def test_all_kinds_at_thirty_digits(name):
    phi = SMOOTH[name]
    with mpmath.workdps(30):

        def expect(f):
            return mpmath.quad(lambda z: f(z) * mpmath.npdf(z), [-14, -6, -2, 0, 2, 6, 14])

        square, mean = expect(lambda z: phi(z) ** 2), expect(phi)
        slope = expect(lambda z: mpmath.diff(phi, z) ** 2)
        references = {"second_moment": square, "centred": square - mean**2, "backward": slope}
        for kind, reference in references.items():
            assert gain(name, kind) == pytest.approx(float(reference**-0.5), rel=1e-11)


@given(st.sampled_from(sorted(ACTIVATIONS)), st.floats(1e-3, 1e3), st.booleans())
@settings(max_examples=25)
def test_scaled_activations_have_inversely_scaled_gains(name, scale, negative):
    scaled = moved(name, -scale if negative else scale, 0.0)
    for kind in ("second_moment", "centred", "backward"):
        assert gain(scaled, kind) == pytest.approx(gain(name, kind) / scale, rel=1e-9)


@given(st.sampled_from(sorted(ACTIVATIONS)), st.floats(-50, 50))
@settings(max_examples=25)
def test_a_shift_matters_to_the_second_moment_alone(name, shift):
    shifted = moved(name, 1.0, shift)
    assert gain(shifted, "centred") == pytest.approx(gain(name, "centred"), rel=1e-8)
    assert gain(shifted, "backward") == pytest.approx(gain(name, "backward"), rel=1e-12)
    mean_square = gain(name, "centred") ** -2 + gain(shifted, "second_moment") ** -2 - gain(shifted, "centred") ** -2
    assert gain(shifted) == pytest.approx(mean_square**-0.5, rel=1e-8)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_gains_are_ordered(name):
    """Var φ is at most E φ² and, by Poincaré, E φ′²."""
    centred = gain(name, "centred") * (1 + 1e-12)
    assert centred >= gain(name)
    assert centred >= gain(name, "backward")


def test_a_function_of_the_reader():
    """E sin² = (1 − e⁻²)/2, E cos² = (1 + e⁻²)/2."""
    assert gain(torch.sin) == pytest.approx(((1 - math.exp(-2)) / 2) ** -0.5, rel=1e-12)
    assert gain(torch.sin, "backward") == pytest.approx(((1 + math.exp(-2)) / 2) ** -0.5, rel=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match=r"constant|dead"):
        gain(lambda x: 0 * x + 3, "centred")
    for kind in ("second_moment", "backward"):
        with pytest.raises(ValueError, match="dead"):
            gain(lambda x: 0 * x, kind)
    with pytest.raises(ValueError, match="unknown activation"):
        gain("swish-ish")


# Audit: figures of the book


@pytest.mark.parametrize(
    ("act", "g", "signal", "gradient"),
    [
        ("tanh", TORCH("tanh"), "1.178e+00", "2.10e+08"),
        ("tanh", DEFAULT, "5.578e-49", "6.666e-49"),
        ("tanh", 1.0, "5.069e-03", "7.13e-03"),
        ("gelu", HE, "2.6e-29", "5.0e-29"),
        ("silu", HE, "2.9e-30", "3.9e-30"),
        ("selu", TORCH("selu"), "2.3e-02", "4.5e-02"),
        ("selu", 1.0, "1.00e+00", "1.005e+03"),
        ("relu", DEFAULT, "1.5e-78", "1.5e-78"),
        ("relu", HE, "1.000000000000e+00", "1.000000000000e+00"),
        ("relu", 1.0, "7.9e-31", "7.9e-31"),
        ("elu", 1.0, "6.6e-04", "8.3e-04"),
        ("lecun_tanh", 1.0, "3.824e-01", "2.985e+00"),
        ("sigmoid", 1.0, "2.6e-01", "3.18e-126"),
    ],
)
def test_gains_in_use_over_100_layers(act, g, signal, gradient):
    audit = audit_gain(act, g, 100)
    for value, figure in ((audit.signal_growth, signal), (audit.gradient_growth, gradient)):
        assert f"{value:.{len(figure.split('e')[0]) - 2}e}" == figure


@pytest.mark.parametrize(
    ("act", "g", "field", "figure"),
    [
        ("tanh", TORCH("tanh"), "gradient", "1.05e+08"),
        ("gelu", HE, "variance", "2.3e-27"),
        ("silu", HE, "variance", "1.9e-29"),
    ],
)
def test_the_same_from_inputs_of_unit_variance(act, g, field, figure):
    """The first pre-activations then have the variance g²; their variance after 100 layers is q_100."""
    audit = audit_gain(act, g, 100, q0=g**2)
    value = audit.gradient_growth if field == "gradient" else audit.signal_growth * g**2
    assert f"{value:.{len(figure.split('e')[0]) - 2}e}" == figure


@pytest.mark.parametrize(
    ("act", "g", "fixed_point", "chi1"),
    [
        ("tanh", 5 / 3, None, "1.2098"),
        ("selu", 1.0, "1.0000", "1.07157"),
        ("lecun_tanh", 1.0, "0.3824408013", "1.0192495"),
        ("sigmoid", 1.0, "0.2646868752", "0.0557207"),
        ("gelu", HE, "0.0", "0.5"),
        ("tanh", 1.0, "0.0", "1.0"),
        ("relu", HE, "1.0", "1.0"),
        ("relu", 2.0, "inf", "2.0"),
    ],
)
def test_fixed_point_and_its_slope(act, g, fixed_point, chi1):
    audit = audit_gain(act, g, 100)
    assert f"{audit.chi1:.{len(chi1) - 2}f}" == chi1
    if fixed_point == "inf":
        assert audit.fixed_point == math.inf
    elif fixed_point is not None:
        assert f"{audit.fixed_point:.{len(fixed_point) - 2}f}" == fixed_point


def test_frozen_at_variance_one():
    """With the exact gain q stays 1, and χ1 there decides: (second-moment gain/backward gain)²."""
    figures = {"tanh": "1.1778", "erf": "1.2257", "gelu": "1.0720", "silu": "1.0666", "selu": "1.0716", "elu": "1.0359"}
    for act, figure in figures.items():
        chi1 = (gain(act) / gain(act, "backward")) ** 2
        assert f"{chi1:.4f}" == figure
        first = audit_gain(act, gain(act), 1)
        assert first.log_signal_growth == pytest.approx(0, abs=1e-12)
        assert first.gradient_growth == pytest.approx(chi1, rel=1e-11)
    assert (gain("gelu") / gain("gelu", "backward")) ** 200 == pytest.approx(1049, rel=1e-3)
    assert f"{(gain('tanh') / gain('tanh', 'backward')) ** 200:.1e}" == "1.3e+07"


def test_default_biases_lift_the_variance_to_their_own():
    """nn.Linear draws biases of variance 1/(3 fan-in), too: at width 300 the signal settles near that, not at 0."""
    bias = 1 / 900
    audit = audit_gain("relu", DEFAULT, 100, sigma_b2=bias)
    assert audit.fixed_point == pytest.approx(bias / (1 - 1 / 6), rel=1e-10)
    assert audit.signal_growth == pytest.approx(audit.fixed_point, rel=1e-10)
    assert audit.log_gradient_growth == pytest.approx(100 * math.log(1 / 6), rel=1e-12)


# Audit: references


@pytest.mark.parametrize(("g", "bias"), [(5 / 3, 0.0), (1.0, 0.0), (1.1, 0.05), (0.5, 0.0)])
def test_layer_by_layer_against_another_quadrature(g, bias):
    """tanh by Gauss-Hermite with 300 nodes."""
    z, w = special.roots_hermitenorm(300)
    w = w / w.sum()
    q, gradient = 0.7, 0.0
    for _ in range(40):
        h = torch.tanh(torch.from_numpy(q**0.5 * z)).numpy()
        gradient += math.log(g**2 * (w @ (1 - h**2) ** 2))
        q = g**2 * (w @ h**2) + bias
    audit = audit_gain("tanh", g, 40, q0=0.7, sigma_b2=bias)
    assert 0.7 * audit.signal_growth == pytest.approx(q, rel=1e-9)
    assert audit.log_gradient_growth == pytest.approx(gradient, rel=1e-8, abs=1e-8)


def test_kinked_activation_against_adaptive_quadrature():
    def elu_square(z, q):
        return (math.sqrt(q) * z if z > 0 else math.expm1(math.sqrt(q) * z)) ** 2 * stats.norm.pdf(z)

    q = 2.0
    for _ in range(5):
        q = sum(integrate.quad(elu_square, *ends, args=(q,), epsabs=1e-13)[0] for ends in ((-30, 0), (0, 30)))
    assert 2 * audit_gain("elu", 1.0, 5, q0=2.0).signal_growth == pytest.approx(q, rel=1e-9)


@pytest.mark.parametrize("depth", [1, 100, 10_000])
@pytest.mark.parametrize("g", [0.3, 2**0.5, 10.0])
def test_homogeneous_activations_multiply_at_any_depth(g, depth):
    audit = audit_gain("relu", g, depth, q0=1e-3)
    expected = depth * math.log(g**2 / 2)
    assert audit.log_signal_growth == pytest.approx(expected, rel=1e-11, abs=1e-11)
    assert audit.log_gradient_growth == pytest.approx(expected, rel=1e-11, abs=1e-11)
    assert audit.gradient_growth == pytest.approx(math.exp(expected) if expected < 700 else math.inf, rel=1e-6)


def test_ten_thousand_layers_of_decay_and_of_explosion():
    """Far below float64 the rates are those at zero, ¼ σ_w² for GELU; far above, those at the fixed point."""
    gelu = [audit_gain("gelu", HE, depth).log_signal_growth for depth in (1000, 10_000)]
    assert gelu[1] - gelu[0] == pytest.approx(9000 * math.log(0.5), rel=1e-11)
    tanh = audit_gain("tanh", TORCH("tanh"), 10_000)
    assert tanh.log_gradient_growth == pytest.approx(10_000 * math.log(tanh.chi1), rel=1e-3)
    assert tanh.gradient_growth == math.inf
    assert f"{math.exp(100 * math.log(tanh.chi1)):.2e}" == "1.87e+08"


@given(
    st.sampled_from(["tanh", "gelu", "relu", "selu", "silu"]),
    st.floats(0.3, 3),
    st.integers(1, 30),
    st.integers(1, 30),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=8)
def test_parts_of_a_network_add_up(act, g, first, second, q0):
    whole = audit_gain(act, g, first + second, q0=q0)
    below = audit_gain(act, g, first, q0=q0)
    above = audit_gain(act, g, second, q0=q0 * below.signal_growth)
    for field in ("log_signal_growth", "log_gradient_growth"):
        total = getattr(below, field) + getattr(above, field)
        assert getattr(whole, field) == pytest.approx(total, rel=1e-9, abs=1e-9)


@given(st.sampled_from(["tanh", "gelu", "relu", "elu"]), st.floats(0.1, 10))
@settings(max_examples=5)
def test_scale_of_the_activation_is_that_of_the_gain(act, scale):
    plain, scaled = audit_gain(act, 2.0, 40), audit_gain(moved(act, scale, 0.0), 2.0 / scale, 40)
    assert scaled.log_signal_growth == pytest.approx(plain.log_signal_growth, rel=1e-9, abs=1e-9)
    assert scaled.log_gradient_growth == pytest.approx(plain.log_gradient_growth, rel=1e-9, abs=1e-9)


def test_callable_of_the_reader_like_the_registered_one():
    ours, theirs = audit_gain("silu", 1.8, 50), audit_gain(lambda x: x * torch.sigmoid(x), 1.8, 50)
    assert theirs.log_gradient_growth == pytest.approx(ours.log_gradient_growth, rel=1e-9)
    assert theirs.fixed_point == pytest.approx(ours.fixed_point, rel=1e-9)


def test_orbit_ends_at_the_fixed_point_on_its_side():
    """SiLU at 1.42² has two besides infinity: below the repelling one the signal dies, above it explodes."""
    small, large = (audit_gain("silu", 1.42, 100, q0=q0) for q0 in (1.0, 1e6))
    assert (small.fixed_point, small.chi1) == (0.0, pytest.approx(1.42**2 / 4))
    assert (large.fixed_point, large.chi1) == (math.inf, pytest.approx(1.42**2 / 2))


@pytest.mark.parametrize("depth", [1000, 1023, 5000])
def test_fixed_point_where_the_variance_leaves_float64(depth):
    for g, limit in ((2.0, math.inf), (1.0, 0.0)):
        audit = audit_gain("relu", g, depth)
        assert (audit.fixed_point, audit.chi1) == (limit, pytest.approx(g**2 / 2))
    assert audit_gain("relu", HE, depth, q0=7.0).fixed_point == pytest.approx(7, rel=1e-10)


def test_falling_maps_do_not_oscillate():
    """φ = exp(−x²) makes q ↦ g²/√(1 + 4q), the fixed point solves q²(1 + 4q) = g⁴."""
    audit = audit_gain(lambda x: torch.exp(-x * x), 3.0, 5)
    q = audit.fixed_point
    assert q**2 * (1 + 4 * q) == pytest.approx(81, rel=1e-11)
    assert audit.signal_growth != pytest.approx(q, rel=1e-3)


@pytest.mark.parametrize(
    ("act", "g", "depth", "verdict"),
    [
        ("relu", HE, 50, "gradients hold ×1 over 50 layers; the signal holds ×1"),
        ("relu", 1.0, 50, "gradients vanish ×8.9e-16 over 50 layers; the signal dies ×8.9e-16"),
        ("sigmoid", 1.0, 100, "gradients vanish ×3.2e-126 over 100 layers; the signal holds ×0.265"),
        ("relu", 2.0, 4000, "gradients explode ×1.3e1204 over 4000 layers; the signal explodes ×1.3e1204"),
        ("tanh", 1.0, 7, "the signal dies ×0.0745 over 7 layers; gradients hold ×0.101"),
    ],
)
def test_verdicts(act, g, depth, verdict):
    assert audit_gain(act, g, depth).verdict == verdict


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_gain_and_start_must_be_positive(value):
    with pytest.raises(ValueError, match="gain must be positive and finite"):
        audit_gain("tanh", value, 3)
    with pytest.raises(ValueError, match="q0 must be positive and finite"):
        audit_gain("tanh", 1.0, 3, q0=value)


def test_depth_and_biases_are_checked():
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        audit_gain("tanh", 1.0, 0)
    with pytest.raises(ValueError, match="not negative"):
        audit_gain("tanh", 1.0, 3, sigma_b2=-0.1)
    with pytest.raises(ValueError, match="dead"):
        audit_gain(lambda x: torch.relu(x - 1), 0.1, 100)


# Real layers


def assert_mean(samples, predicted, alpha=2e-6):
    """The mean over independent networks is the predicted one, by Student's t."""
    count = samples.numel()
    gate = stats.t.isf(alpha / 2, count - 1) * samples.std() / count**0.5
    assert abs(samples.mean() - predicted) < gate


def network_growth(act, g, n, networks, depth):
    """Growth of pre-activations and of squared gradients in networks of width n that start at q_0 = 1."""
    generator = stream("tests", f"gains.{act}", n)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    h = first = randn(networks, n, 1).requires_grad_()
    for _ in range(depth):
        h = g / n**0.5 * randn(networks, n, n) @ activation(act).function(h)
    (gradient,) = torch.autograd.grad(h, first, randn(networks, n, 1))
    return h.detach().square().mean((1, 2)), gradient.square().mean((1, 2))


@pytest.mark.parametrize(("act", "g"), [("tanh", TORCH("tanh")), ("gelu", HE)])
def test_audit_in_drawn_networks(act, g):
    """Five layers, at widths 32 and 64 extrapolated in 1/n."""
    audit = audit_gain(act, g, 5)
    narrow, wide = (network_growth(act, g, n, 1000, 5) for n in (32, 64))
    for small, large, predicted in zip(narrow, wide, (audit.signal_growth, audit.gradient_growth), strict=True):
        assert_mean(2 * large - small, predicted)
