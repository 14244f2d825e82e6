"""SGD that is evaluated at the running average of its weights: swapped in before an evaluation, out after it."""

import copy

import torch
from algorithmic_efficiency import spec
from algorithmic_efficiency.pytorch_utils import pytorch_setup

USE_PYTORCH_DDP = pytorch_setup()[0]


class Averager:
    """Has a state of its own, as everything in the optimizer state that is to be saved."""

    def __init__(self, model):
        self.average = [weight.detach().clone() for weight in model.parameters()]
        self.kept = None

    def update(self, model):
        for mean, weight in zip(self.average, model.parameters(), strict=True):
            mean.lerp_(weight.detach(), 0.1)

    def state_dict(self):
        return {"average": self.average, "kept": self.kept}

    def load_state_dict(self, state):
        self.average, self.kept = state["average"], state["kept"]


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = torch.optim.SGD(model_params.parameters(), lr=0.01, momentum=0.9)
    return {"optimizer": optimizer, "averager": Averager(model_params)}


@torch.no_grad()
def _load(model, weights):
    for weight, value in zip(model.parameters(), weights, strict=True):
        weight.copy_(value)


def update_params(
    workload, current_param_container, current_params_types, model_state, hyperparameters, batch, loss_type,
    optimizer_state, eval_results, global_step, rng,
):  # fmt: skip
    model, averager = current_param_container, optimizer_state["averager"]
    if averager.kept is not None:
        _load(model, averager.kept)
        averager.kept = None
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(
        model, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
    )
    losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer_state["optimizer"].step()
    averager.update(model)
    return optimizer_state, model, model_state


def prepare_for_eval(
    workload, current_param_container, current_params_types, model_state, hyperparameters, loss_type,
    optimizer_state, eval_results, global_step, rng,
):  # fmt: skip
    averager = optimizer_state["averager"]
    averager.kept = copy.deepcopy([weight.detach() for weight in current_param_container.parameters()])
    _load(current_param_container, averager.average)
    return optimizer_state, current_param_container, model_state


def get_batch_size(workload_name):
    return 8


def data_selection(workload, input_queue, *others):
    return next(input_queue)
