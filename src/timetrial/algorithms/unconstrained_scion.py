"""Unconstrained Scion: the same steps without the shrinking, along each layer's steepest direction.

Pethick et al., 2025 (arXiv 2502.07529): W <- W - r rho v(a), with the averages, norms, radii and the initialisation of
`scion`. With all layers hidden this is Muon without Nesterov at the scale sqrt(out / in).

Memory: 1 float a parameter. Work: Muon's.
"""

from timetrial.algorithms.scion import Scion


class UnconstrainedScion(Scion):
    """Unconstrained Scion on all parameters, with its initialisation; linear decay to zero."""

    constrained = False
