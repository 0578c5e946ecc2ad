"""What several tests of the theory compare with."""

import mpmath as mp
import pytest

mp.mp.dps = 30
SELU_SCALE, SELU_ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")

# written from the definitions, to 30 digits
REFERENCE = {
    "linear": lambda x: x,
    "tanh": mp.tanh,
    "lecun_tanh": lambda x: mp.mpf(1.7159) * mp.tanh(2 * x / 3),
    "erf": mp.erf,
    "hardtanh": lambda x: max(-mp.mpf(1), min(mp.mpf(1), x)),
    "relu": lambda x: max(mp.mpf(0), x),
    "leaky_relu": lambda x: x if x > 0 else mp.mpf(0.01) * x,
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "selu": lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mp.expm1(x)),
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_tanh": lambda x: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3))),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
}


@pytest.fixture
def reference():
    """Every registered activation, by name, on mpmath's numbers."""
    return REFERENCE
