"""Every batch is used three times; the batch at hand is kept by a closure over the queue."""

import torch
from algoperf import spec

ECHOES = 3


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = torch.optim.RMSprop(model_params.parameters(), lr=1e-4)
    assert set(workload.param_shapes) == set(workload.model_params_types)
    assert all(isinstance(kind, spec.ParameterType) for kind in workload.model_params_types.values())
    return {"optimizer": optimizer, "describe": lambda: f"{len(workload.param_shapes)} parameters"}


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch, loss_type,
    optimizer_state, eval_results, global_step, rng,
):  # fmt: skip
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(
        params=current_param_container,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
        dropout_rate=0.1,
    )
    losses = workload.loss_fn(label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer_state["optimizer"].step()
    return optimizer_state, current_param_container, model_state


def get_batch_size(workload_name):
    return 8


def data_selection(
    workload, input_queue, optimizer_state, current_param_container, model_state, hyperparameters, global_step, rng
):
    if global_step % ECHOES == 0 or "batch" not in optimizer_state:
        optimizer_state["batch"] = next(input_queue)
    return optimizer_state["batch"]
