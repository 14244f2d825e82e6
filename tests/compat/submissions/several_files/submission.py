"""Several files, a requirements file, and the harness's own state: stops of its own accord."""

from algoperf import spec
from rule import SignDescent
from submissions_algorithms.submissions.self_tuning.several_files.sizes import batch_size

LAST_STEP = 25


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"optimizer": SignDescent(model_params.parameters(), lr=1e-4)}


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch, loss_type,
    optimizer_state, eval_results, global_step, rng, train_state=None,
):  # fmt: skip
    assert train_state["is_time_remaining"]
    assert train_state["accumulated_submission_time"] >= 0
    assert not train_state["training_complete"]
    if global_step >= LAST_STEP:
        raise spec.TrainingCompleteError("enough")
    from algoperf.pytorch_utils import update_batch_norm_fn

    current_param_container.apply(lambda module: update_batch_norm_fn(module, True))

    def closure():
        optimizer_state["optimizer"].zero_grad()
        logits, _ = workload.model_fn(
            current_param_container, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        loss = losses["summed"] / losses["n_valid_examples"]
        loss.backward()
        return loss

    optimizer_state["optimizer"].step(closure)
    return optimizer_state, current_param_container, model_state


def get_batch_size(workload_name):
    return batch_size(workload_name)


def data_selection(workload, input_queue, *others):
    return next(input_queue)
