"""What each algorithm is tested with: hyperparameters for the toy problems, and how near it must come.

A line an algorithm: overrides of its default point that suit problems of size one (rates above all; weight decay 0,
so that the optimum stays where it is), and the gap that may remain, as a share of the gap at first, after 600 steps.
"""

from typing import Any

PLAIN: dict[str, Any] = {"weight_decay": 0.0, "warmup_factor": 0.05}

SETTINGS: dict[str, tuple[dict[str, Any], float]] = {
    "adafactor": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "adam": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "adam_mini": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "adamg": ({"horizon_factor": 1.0}, 0.15),  # the rate falls as 1 / sqrt(t) by itself: a gap of that order
    "adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "ademamix": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # No rate decays, and a polar factor's step is as long at the optimum as far from it: only the average comes near.
    "amuse": ({**PLAIN, "learning_rate": 0.05, "beta1": 0.8, "rho": 0.3}, 3e-2),
    # Its rate follows from the number of steps and from the expected size of the weights.
    "amos": ({"warmup_factor": 0.05, "extra_decay": 0.0}, 1e-6),
    "caspr": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "cautious_nadamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # A bound that no optimum touches, as no decay moves the others'.
    "constrained_adamw": ({"warmup_factor": 0.05, "learning_rate": 0.05, "bound": 100.0}, 1e-6),
    "cyclic_nadamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # Statistics over 50 steps rather than 223, of 600.
    "distributed_shampoo": ({**PLAIN, "learning_rate": 0.1, "one_minus_beta2": 0.02}, 1e-6),
    "ema_nesterov": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "foam": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "generalized_adam": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "lamb": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "linear_adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "lion": ({**PLAIN, "learning_rate": 0.05}, 1e-5),  # sign steps: as near as the last rates are small
    "mars_adamw": ({**PLAIN, "learning_rate": 0.05, "vector_learning_rate": 0.05, "vector_weight_decay": 0.0}, 1e-6),
    "nadamp": ({**PLAIN, "learning_rate": 0.05}, 1e-5),  # p = 1.5: steps grow as gradients shrink
    # Every other step is of signs, which at a given rate go around a narrow valley's floor, not along it.
    "lionmuon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-4),
    # Steps as long as the schedule says, to the end: what remains goes with the square of the last rates.
    "modular_norm_descent": ({**PLAIN, "learning_rate": 0.04}, 1e-4),
    "muon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-6),
    # The average's memory must be short of the run: the rate is at 0 for its last steps only.
    "lawa_ema": ({**PLAIN, "learning_rate": 0.05, "average_beta": 0.9}, 1e-6),
    "lawa_queue": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "nadamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "nadamw_baseline": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "nadamw_sequential": ({"learning_rate_1": 0.05, "weight_decay_1": 0.0}, 1e-6),
    "nesterov": ({**PLAIN, "learning_rate": 0.02}, 1e-6),
    "normuon": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-6),
    "psgd_kron": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "sam": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "prodigy": (PLAIN, 1e-6),
    # Schedule-Free: a constant rate, and an average that forgets its first steps as 1 / t only.
    "schedule_free_adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-4),
    "schedule_free_adamw_v2": ({**PLAIN, "learning_rate": 0.05}, 1e-4),
    "schedule_free_prodigy": (PLAIN, 1e-4),
    "schedule_free_sgd": (PLAIN, 1e-4),
    "sgd_momentum": ({**PLAIN, "learning_rate": 0.02}, 1e-6),
    # Period and momentum's memory as long as each other, as published (75 and 100 steps), but for a run of 600.
    "single_worker_diloco": ({**PLAIN, "learning_rate": 0.05, "one_minus_beta1": 0.1, "outer_period": 10}, 1e-6),
    "soap": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    "sophia_g": ({**PLAIN, "learning_rate": 0.05}, 1e-5),  # nothing to draw labels for: sign steps near the end
    "wsd_adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-6),
    # The optima lie within the balls, so that the constraint does not move them.
    "scion": ({"warmup_factor": 0.05, "learning_rate": 0.02}, 1e-6),
    # Momentum of 0.95: what remains goes with the square of the last twenty steps' rates.
    "symmetry_compatible": ({**PLAIN, "learning_rate": 0.1, "auxiliary_learning_rate": 0.05}, 1e-4),
    "unconstrained_scion": ({"warmup_factor": 0.05, "learning_rate": 0.02}, 1e-6),
    "weighted_schedule_free_adamw": ({**PLAIN, "learning_rate": 0.05}, 1e-3),
}
