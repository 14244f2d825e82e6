"""What each algorithm is tested with: hyperparameters for the toy problems, and how near it must come.

A line an algorithm: overrides of its default point that suit problems of size one (rates above all; weight decay 0,
so that the optimum stays where it is), and the gap that may remain, as a share of the gap at first, after 600 steps.
"""

from typing import Any

PLAIN: dict[str, Any] = {"weight_decay": 0.0, "warmup_factor": 0.05}

SETTINGS: dict[str, tuple[dict[str, Any], float]] = {
    "amuse": ({**PLAIN, "learning_rate": 0.1}, 1e-2),
    "adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "caspr": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # A bound that no optimum touches, as no decay moves the others'.
    "constrained_adamw": ({"warmup_factor": 0.05, "learning_rate": 0.05, "bound": 100.0}, 1e-6),
    # Statistics over 50 steps rather than 223, of 600.
    "distributed_shampoo": ({**PLAIN, "learning_rate": 0.1, "one_minus_beta2": 0.02}, 1e-6),
    "foam": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "nadamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "nesterov": ({**PLAIN, "learning_rate": 0.02}, 1e-6),
    "psgd_kron": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "sgd_momentum": ({**PLAIN, "learning_rate": 0.02}, 1e-6),
    "soap": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "lionmuon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-3),
    "modular_norm_descent": ({**PLAIN, "learning_rate": 0.1}, 1e-3),
    "muon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-3),
    "normuon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-3),
    "scion": ({"warmup_factor": 0.05, "learning_rate": 0.02}, 1e-3),
    "symmetry_compatible": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-3),
    "unconstrained_scion": ({"warmup_factor": 0.05, "learning_rate": 0.02}, 1e-3),
}
