r"""What power iterations know of the norm of a random matrix after a few steps."""


def power_iteration_norm(iterations: int) -> float:
    r"""Return the estimate of ‖W‖₂ of a wide square Gaussian matrix, entries N(0, 1/n), after so many iterations.

    From a random v_0 each iteration takes :math:`u \propto W v` and :math:`v \propto W^\top u`; the estimate is
    :math:`u^\top W v`. After t iterations, with :math:`A = W^\top W`, its square is :math:`v_0^\top A^{2t} v_0 /
    v_0^\top A^{2t-1} v_0`. As n → ∞ at fixed t, :math:`v_0^\top A^k v_0/\|v_0\|^2` is the k-th moment of the limiting
    spectrum, the Catalan number :math:`C_k`, and :math:`C_{k+1}/C_k = 2(2k+1)/(k+2)`, so that

    .. math:: \sqrt{\frac{C_{2t}}{C_{2t-1}}} = 2 \sqrt{1 - \frac{3}{4t + 2}} .

    The norm itself tends to 2. The iterations have no gap between eigenvalues to work with, and converge as 1/t until
    they resolve single eigenvalues (t of the order of n^{2/3}).

    Raises
    ------
    ValueError
        If there is no iteration.

    Examples
    --------
    >>> [round(power_iteration_norm(t), 4) for t in (1, 10, 100)]
    [1.4142, 1.9272, 1.9925]
    """
    if iterations < 1:
        raise ValueError(f"takes at least one iteration, got {iterations}")
    return float(2 * (1 - 3 / (4 * iterations + 2)) ** 0.5)
