"""Sharpness-aware minimisation: two passes a step, batch norms move in the first alone."""

import torch
from algoperf import spec


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"optimizer": torch.optim.AdamW(model_params.parameters(), lr=1e-3)}


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch, loss_type,
    optimizer_state, eval_results, global_step, rng,
):  # fmt: skip
    model, optimizer = current_param_container, optimizer_state["optimizer"]

    def gradient(update_batch_norm):
        optimizer.zero_grad()
        logits, _ = workload.model_fn(
            params=model,
            augmented_and_preprocessed_input_batch=batch,
            model_state=None,
            mode=spec.ForwardPassMode.TRAIN,
            rng=rng,
            update_batch_norm=update_batch_norm,
            dropout_rate=0.0,
        )
        losses = workload.loss_fn(label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights"))
        (losses["summed"] / losses["n_valid_examples"]).backward()

    gradient(update_batch_norm=True)
    weights = [weight for weight in model.parameters() if weight.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([weight.grad.norm() for weight in weights]))
    shifts = [0.05 * weight.grad / (norm + 1e-12) for weight in weights]
    with torch.no_grad():
        torch._foreach_add_(weights, shifts)
    gradient(update_batch_norm=False)
    with torch.no_grad():
        torch._foreach_sub_(weights, shifts)
    optimizer.step()
    return optimizer_state, model, None


def get_batch_size(workload_name):
    return 4


def data_selection(workload, input_queue, optimizer_state, params, model_state, hyperparameters, global_step, rng):
    return next(input_queue)
