"""Faults that `timetrial check` must find: each a submission of few lines, and what the check must say of it."""

from __future__ import annotations

HEAD = """
import numpy as np
import os
import random
import threading
import time
import torch
import torch.nn.functional as F
from timetrial.api import SearchSpace, TrainingAlgorithm, log_uniform


class Mine(TrainingAlgorithm):
    search_space = SearchSpace(lr=log_uniform(1e-4, 1e-2))
    hyperparameters = {"lr": 1e-3}

    def setup(self, task, hyperparameters):
        self.optimizer = torch.optim.AdamW(task.model.parameters(), lr=hyperparameters.lr)

    def step(self, task, batch):
        self.optimizer.zero_grad()
        task.backward(batch)
        self.optimizer.step()
"""

SETUP = "        self.optimizer = torch.optim.AdamW(task.model.parameters(), lr=hyperparameters.lr)\n"
STEP = "        self.optimizer.step()\n"


def with_setup(*lines: str) -> str:
    """The sound submission with these lines in place of the optimizer's."""
    return HEAD.replace(SETUP, "".join(f"        {line}\n" for line in lines))


def with_step(*lines: str) -> str:
    """The sound submission with these lines behind its step."""
    return HEAD.replace(STEP, STEP + "".join(f"        {line}\n" for line in lines))


ADAMW = "self.optimizer = torch.optim.AdamW(task.model.parameters(), lr=lr)"

FAULTS: dict[str, tuple[str, str, str]] = {
    # name: (source, the check that must fail, what its message must say)
    "workload by its model's class": (
        with_setup("lr = 1e-2 if 'Vit' in type(task.model).__name__ else 1e-3",
                   "lr = lr if 'timetrial' in type(task.model).__module__ else 0.1 * lr", ADAMW),
        "workload identification", "nothing changed but the workload's, the model's and the parameters' names",
    ),
    "workload by a parameter's name": (
        with_setup("names = dict(task.model.named_parameters())",
                   "lr = 1e-2 if 'conv_patch_extract.weight' in names else hyperparameters.lr", ADAMW),
        "workload identification", "AdamW's initial_lr is 0.01 and becomes",
    ),
    "workload by parameter count": (
        with_setup("count = sum(p.numel() for p in task.model.parameters())",
                   "lr = {COUNT: 1e-2}.get(count, hyperparameters.lr)", ADAMW),
        "workload identification", "nothing changed but the",
    ),
    "workload by a fingerprint of shapes": (
        with_setup("key = hash(tuple(tuple(p.shape) for p in task.model.parameters()))",
                   "shapes = [tuple(p.shape) for p in task.model.parameters()]",
                   "lr = 1e-2 if (10, 16) in shapes else hyperparameters.lr", ADAMW),
        "workload identification", "nothing changed but the number of labels",
    ),
    "workload by the order of its parameters": (
        with_setup("first = next(iter(task.model.parameters()))",
                   "lr = 1e-2 if first.numel() == FIRST else hyperparameters.lr", ADAMW),
        "workload identification", "nothing changed but",
    ),
    "hyperparameters by the step hint": (
        with_setup("TABLE = {2000: 1e-2, 1800: 3e-3}", "lr = TABLE.get(task.step_hint, hyperparameters.lr)", ADAMW),
        "workload identification", "nothing changed but the sizes of model, data and run",
    ),
    "dropout by the number of classes": (
        HEAD.replace("task.backward(batch)", "task.backward(batch, dropout=0.3 if OUTPUTS(task) == 10 else 0.0)")
        .replace(
            "\n\nclass Mine", "\n\nOUTPUTS = lambda task: list(task.model.parameters())[-1].shape[0]\n\n\nclass Mine"),
        "workload identification", "nothing changed but the number of labels: dropout",
    ),
    "state that is lost": (
        HEAD.replace(SETUP, SETUP + "        self.count = lambda: 0\n        self.counter = Counter()\n").replace(
            STEP, "        self.counter.n += 1\n        for group in self.optimizer.param_groups:\n"
            "            group['lr'] = 1e-3 / self.counter.n\n" + STEP).replace(
            "\n\nclass Mine", "\n\nclass Counter:\n    n = 0\n\n\nclass Mine"),
        "state round trip", "state_dict does not hold all of its state",
    ),
    "unseeded randomness": (
        with_step("noise = np.random.default_rng().standard_normal()", "with torch.no_grad():",
                  "    next(task.model.parameters()).mul_(1 + 1e-3 * noise)"),
        "deterministic", "two runs of one seed end with different weights",
    ),
    "the time of day as randomness": (
        with_step("torch.manual_seed(time.time_ns() % 2**31)", "with torch.no_grad():",
                  "    next(task.model.parameters()).add_(1e-4 * torch.randn(1))"),
        "deterministic", "two runs of one seed",
    ),
    "a patched torch function": (
        with_setup("torch.Tensor.backward = lambda self, *a, **k: None", "lr = hyperparameters.lr", ADAMW),
        "patched functions", "setup: replaces torch.Tensor.backward by a function of its own",
    ),
    "a patched clock": (
        with_step("time.perf_counter_ns = lambda: 0"),
        "patched functions", "step: replaces time.perf_counter_ns",
    ),
    "more threads": (
        with_setup("torch.set_num_threads(2)", "lr = hyperparameters.lr", ADAMW),
        "global settings", "setup: changes torch.get_num_threads() from 1 to 2",
    ),
    "lower precision": (
        with_step("torch.set_float32_matmul_precision('medium')"),
        "global settings", "step: changes torch.get_float32_matmul_precision() from highest to medium",
    ),
    "cudnn's flags": (
        with_setup("torch.backends.cudnn.benchmark = True", "lr = hyperparameters.lr", ADAMW),
        "global settings", "torch.backends.cudnn.benchmark from False to True",
    ),
    "a thread that stays": (
        with_step("if task.step == 1:", "    late = threading.Thread(target=time.sleep, args=(30,), name='late')",
                  "    late.daemon = True", "    late.start()"),
        "threads and processes", "step: leaves the thread 'late' running",
    ),
    "a process that stays": (
        with_step("if task.step == 1:", "    import subprocess", "    self.child = subprocess.Popen(['sleep', '20'])"),
        "files, network, environment", "step: starts the program 'sleep'",
    ),
    "reading a file": (
        with_step("open('/etc/hostname').read()"),
        "files, network, environment", "step: reads or writes the file '/etc/hostname'",
    ),
    "reading weights from a file": (
        with_setup("lr = hyperparameters.lr", ADAMW, "if os.path.exists('/nowhere'): pass",
                   "np.fromfile('/etc/hostname', dtype=np.uint8)"),
        "files, network, environment", "setup: reads or writes the file '/etc/hostname'",
    ),
    "reading the environment": (
        with_setup("lr = float(os.environ.get('LR', hyperparameters.lr))", ADAMW),
        "files, network, environment", "setup: reads the environment variable 'LR'",
    ),
    "a search space for each workload": (
        HEAD.replace(
            "    search_space = SearchSpace(lr=log_uniform(1e-4, 1e-2))",
            "    search_space = {name: SearchSpace(lr=log_uniform(1e-4, 1e-2)) for name in ('wmt', 'ogbg')}",
        ),
        "hooks, search space", "search_space must be one SearchSpace for all workloads, found a dict",
    ),
    "a search space that is computed": (
        HEAD.replace(
            "    search_space = SearchSpace(lr=log_uniform(1e-4, 1e-2))",
            "    @property\n    def search_space(self):\n        return SearchSpace(lr=log_uniform(1e-4, 1e-2))",
        ),
        "hooks, search space", "search_space must be one SearchSpace for all workloads, found a property",
    ),
    "an unused hyperparameter": (
        HEAD.replace('hyperparameters = {"lr": 1e-3}', 'hyperparameters = {"lr": 1e-3, "magic": 7}'),
        "hyperparameters used", "the hyperparameter 'magic' is never read",
    ),
    "a hook of another signature": (
        HEAD.replace("def step(self, task, batch):", "def step(self, task, batch, more):"),
        "hooks, search space", "step is called as step(task, batch)",
    ),
    "a crash on one example": (
        with_step("assert len(next(iter(batch.values()))) > 1, 'one is not enough'"),
        "small batches", "AssertionError: one is not enough",
    ),
    "a crash on NaN": (
        with_step("assert all(p.isfinite().all() for p in task.model.parameters()), 'diverged'"),
        "a gradient of NaN", "AssertionError: diverged",
    ),
    "a crash": (
        with_step("1 / 0"),
        "runs", "ZeroDivisionError: division by zero",
    ),
}  # fmt: skip
