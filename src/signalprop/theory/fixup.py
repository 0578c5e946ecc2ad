r"""Fixup: how large branches may be, so that a step of SGD changes the function by as much at every depth.

References
----------
H. Zhang, Y. Dauphin, T. Ma, *Fixup initialization*, arXiv:1901.09321. The factor is derived here.
"""


def fixup_exponent(branch_layers: int) -> float:
    r"""Return p = 1/(2m − 2): the inner layers of a branch of m layers start at He's size times :math:`L^{-p}`.

    It is the exponent for which `fixup_update` does not depend on L.

    Raises
    ------
    ValueError
        If a branch has fewer than two layers: its only layer is zero then, and nothing is left to scale.

    Examples
    --------
    >>> fixup_exponent(2), fixup_exponent(3)
    (0.5, 0.25)
    """
    if branch_layers < 2:
        raise ValueError(f"a branch must have at least 2 layers, got {branch_layers}")
    return 1 / (2 * branch_layers - 2)


def fixup_update(depth: int, branch_layers: int, exponent: float) -> float:
    r"""Return by how much a first step changes the output, over what one unscaled branch would change it.

    All branches :math:`V_l h_l(x)` start with V_l = 0, so that the trunk is x everywhere and only the V_l have a
    gradient, :math:`g\,h_l^\top` with the same g for all l. A step of size η changes the end of the trunk at x by

    .. math:: -η\, g \sum_{l=1}^{L} \|h_l\|^2 , \qquad \|h_l\|^2 = L^{-2p(m-1)} \|x\|^2

    to first order in η, with He's weights times :math:`L^{-p}` and ReLU in the m − 1 inner layers, which end in a ReLU.
    In units of :math:`η \|g\| \|x\|^2` that is :math:`L^{1 - (2m-2)p}`.

    Parameters
    ----------
    depth
        L ≥ 1, the number of branches.
    branch_layers
        m ≥ 2, the weight layers of a branch.
    exponent
        p.

    Raises
    ------
    ValueError
        If depth or branch layers are out of range.

    Examples
    --------
    >>> [round(fixup_update(depth, 2, 0.5), 9) for depth in (10, 100, 1000)]
    [1.0, 1.0, 1.0]
    >>> [round(fixup_update(depth, 2, 0.0), 9) for depth in (10, 100, 1000)]
    [10.0, 100.0, 1000.0]
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    if branch_layers < 2:
        raise ValueError(f"a branch must have at least 2 layers, got {branch_layers}")
    return float(depth ** (1 - (2 * branch_layers - 2) * exponent))
