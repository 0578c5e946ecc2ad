import pytest

from signalprop.theory import fixup_exponent, fixup_update


@pytest.mark.parametrize("branch_layers", [2, 3, 4, 7])
def test_update_does_not_depend_on_depth_with_the_exponent(branch_layers):
    exponent = fixup_exponent(branch_layers)
    updates = [fixup_update(depth, branch_layers, exponent) for depth in (1, 10, 1000)]
    assert updates == pytest.approx([1, 1, 1], rel=1e-12)


def test_exponents_of_the_paper():
    assert [fixup_exponent(m) for m in (2, 3)] == [0.5, 0.25]


def test_wrong_exponents():
    assert fixup_update(100, 3, 0.5) == pytest.approx(0.01)
    assert fixup_update(100, 3, 0.0) == pytest.approx(100)


def test_out_of_range():
    with pytest.raises(ValueError, match="at least 2 layers"):
        fixup_exponent(1)
    with pytest.raises(ValueError, match="depth"):
        fixup_update(0, 2, 0.5)
    with pytest.raises(ValueError, match="at least 2 layers"):
        fixup_update(3, 1, 0.5)
