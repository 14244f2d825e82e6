"""SGD with Nesterov momentum: one of the four algorithms that set the benchmark's targets.

Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in PyTorch's form. As
heavy ball (`sgd_momentum`), but the step looks one buffer ahead:

    b <- m b + (g + d w)
    w <- w - r (g + d w + m b)
"""

from timetrial.algorithms.sgd_momentum import HeavyBall


class Nesterov(HeavyBall):
    """SGD with Nesterov momentum; schedule and search space of the heavy-ball baseline."""

    nesterov = True
