"""What each algorithm is tested with: hyperparameters for the toy problems, and how near it must come.

A line an algorithm: overrides of its default point that suit problems of size one (rates above all; weight decay 0,
so that the optimum stays where it is), and the gap that may remain, as a share of the gap at first, after 600 steps.
"""

from typing import Any

PLAIN: dict[str, Any] = {"weight_decay": 0.0, "warmup_factor": 0.05}

SETTINGS: dict[str, tuple[dict[str, Any], float]] = {
    "adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # No rate decays, and a polar factor's step is as long at the optimum as far from it: only the average comes near.
    "amuse": ({**PLAIN, "learning_rate": 0.05, "beta1": 0.8, "rho": 0.3}, 3e-2),
    "caspr": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # A bound that no optimum touches, as no decay moves the others'.
    "constrained_adamw": ({"warmup_factor": 0.05, "learning_rate": 0.05, "bound": 100.0}, 1e-6),
    # Statistics over 50 steps rather than 223, of 600.
    "distributed_shampoo": ({**PLAIN, "learning_rate": 0.1, "one_minus_beta2": 0.02}, 1e-6),
    "foam": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # Every other step is of signs, which at a given rate go around a narrow valley's floor, not along it.
    "lionmuon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-4),
    # Steps as long as the schedule says, to the end: what remains goes with the square of the last rates.
    "modular_norm_descent": ({**PLAIN, "learning_rate": 0.04}, 1e-4),
    "muon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-6),
    "nadamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "nesterov": ({**PLAIN, "learning_rate": 0.02}, 1e-6),
    "normuon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-6),
    "psgd_kron": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # The optima lie within the balls, so that the constraint does not move them.
    "scion": ({"warmup_factor": 0.05, "learning_rate": 0.02}, 1e-6),
    "sgd_momentum": ({**PLAIN, "learning_rate": 0.02}, 1e-6),
    "soap": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # Momentum of 0.95: what remains goes with the square of the last twenty steps' rates.
    "symmetry_compatible": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-4),
    "unconstrained_scion": ({"warmup_factor": 0.05, "learning_rate": 0.02}, 1e-6),
}
