"""Two attempts one after the other, the second from a newly initialised model at half the rate."""

import torch
from algoperf import random_utils as prng
from algoperf import spec

RESTART_AT = 12


def _optimizer(model, rate):
    return torch.optim.AdamW(model.parameters(), lr=rate)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"optimizer": _optimizer(model_params, 1e-3), "attempt": 0}


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch, loss_type,
    optimizer_state, eval_results, global_step, rng,
):  # fmt: skip
    model = current_param_container
    if global_step == RESTART_AT:
        model_rng, _ = prng.split(rng, 2)
        model, model_state = workload.init_model_fn(model_rng)
        optimizer_state = {"optimizer": _optimizer(model, 5e-4), "attempt": 1}
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(model, batch, model_state, spec.ForwardPassMode.TRAIN, rng, True)
    losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer_state["optimizer"].step()
    return optimizer_state, model, model_state


def get_batch_size(workload_name):
    return 8


def data_selection(workload, input_queue, *others):
    return next(input_queue)
