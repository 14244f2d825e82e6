"""AdamW with a warm-up and a cosine built of PyTorch's schedulers, tuned from a file beside it."""

from absl import logging
from algoperf import spec
from algoperf.pytorch_utils import pytorch_setup
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

USE_DDP, RANK, DEVICE, N_GPUS = pytorch_setup()


def init_optimizer_state(
    workload: spec.Workload,
    model_params: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    rng: spec.RandomState,
) -> spec.OptimizerState:
    optimizer = AdamW(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(1.0 - hyperparameters.one_minus_beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
    )
    warmup = int(hyperparameters.warmup_factor * workload.step_hint)
    parts = [
        LinearLR(optimizer, start_factor=1e-10, end_factor=1.0, total_iters=warmup),
        CosineAnnealingLR(optimizer, T_max=max(workload.step_hint - warmup, 1)),
    ]
    logging.info("schedules over %d steps", workload.step_hint)
    return {"optimizer": optimizer, "scheduler": SequentialLR(optimizer, parts, milestones=[warmup])}


def update_params(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    batch,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    model = current_param_container
    model.train()
    optimizer_state["optimizer"].zero_grad()
    logits, new_model_state = workload.model_fn(
        params=model,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
        dropout_rate=hyperparameters.dropout_rate,
    )
    losses = workload.loss_fn(
        label_batch=batch["targets"],
        logits_batch=logits,
        mask_batch=batch.get("weights"),
        label_smoothing=hyperparameters.label_smoothing,
    )
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer_state["optimizer"].step()
    optimizer_state["scheduler"].step()
    return optimizer_state, current_param_container, new_model_state


def get_batch_size(workload_name):
    sizes = {"criteo1tb": 262_144, "librispeech_deepspeech": 256, "ogbg": 512, "wmt": 128, "imagenet_resnet": 1024}
    if workload_name not in sizes:
        raise ValueError(f"no batch size for {workload_name}")
    return sizes[workload_name]


def data_selection(
    workload,
    input_queue,
    optimizer_state,
    current_param_container,
    model_state,
    hyperparameters,
    global_step,
    rng,
):
    return next(input_queue)
