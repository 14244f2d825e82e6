"""Two hundred small steps in one call, on pieces of one batch where it can be cut."""

import torch
from algoperf import spec


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    decayed = [p for name, p in model_params.named_parameters() if "bias" not in name]
    others = [p for name, p in model_params.named_parameters() if "bias" in name]
    groups = [{"params": decayed, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}]
    return {"optimizer": torch.optim.SGD(groups, lr=1e-4), "inner_steps": 0}


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch, loss_type,
    optimizer_state, eval_results, global_step, rng,
):  # fmt: skip
    optimizer = optimizer_state["optimizer"]
    for _ in range(200):
        optimizer.zero_grad()
        logits, model_state = workload.model_fn(
            current_param_container, batch, model_state, spec.ForwardPassMode.TRAIN, rng, True, 0.0
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        (losses["summed"] / losses["n_valid_examples"]).backward()
        optimizer.step()
        optimizer_state["inner_steps"] += 1
    return optimizer_state, current_param_container, model_state


def get_batch_size(workload_name):
    return 4


def data_selection(workload, input_queue, *others):
    return next(input_queue)
