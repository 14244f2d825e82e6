"""Written for version 0.5: the harness applies the dropout rate; loss and gradient norm are logged."""

import torch
from absl import logging
from algorithmic_efficiency import spec


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del rng, model_state
    rate = 1e-3 if hyperparameters is None else hyperparameters.learning_rate
    return {"optimizer": torch.optim.NAdam(model_params.parameters(), lr=rate)}


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
    )
    losses = workload.loss_fn(label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights"))
    loss = losses["summed"] / losses["n_valid_examples"]
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(current_param_container.parameters(), max_norm=10.0)
    optimizer_state["optimizer"].step()
    if global_step % 5 == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics({"loss": loss.item(), "grad_norm": norm.item()}, global_step)
        logging.info("%d) loss = %0.3f", global_step, loss.item())
    return optimizer_state, current_param_container, model_state


def get_batch_size(workload_name):
    return 8


def data_selection(workload, input_queue, *others):
    return next(input_queue)
