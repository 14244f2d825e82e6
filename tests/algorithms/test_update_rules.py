"""Update rules against hand-computed steps (spec: algorithms/test_vectors.json) and PyTorch's own."""

from collections.abc import Callable

import pytest
import torch

from timetrial.algorithms.nadamw import NAdamWOptimizer

W0 = [[0.5, -1.0], [1.5, 2.0]]
GRADIENTS = [[[0.3, -0.4], [0.1, 0.2]], [[-0.1, 0.5], [0.2, 0.4]]]

Build = Callable[[list[torch.Tensor]], torch.optim.Optimizer]

RULES: dict[str, tuple[Build, list[list[list[float]]]]] = {
    # lr .1, momentum .9, coupled decay .01: b1 = g1 + .01 w0, w1 = w0 - .1 b1; b2 = .9 b1 + g2 + .01 w1.
    "heavy_ball": (
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01, foreach=True),
        [[[0.4695, -0.959], [1.4885, 1.978]], [[0.4515805, -0.971141], [1.4566615, 1.9162220]]],
    ),
    "nesterov": (
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True, foreach=True),
        [[[0.44205, -0.9221], [1.47815, 1.9582]], [[0.435505105, -0.98213801], [1.428026515, 1.86065942]]],
    ),
    # lr .1, betas (.9, .99), decay .1: the first step is w0 (1 - .01) - .1 sign(g) but for eps.
    "adamw": (
        lambda weights: torch.optim.AdamW(weights, lr=0.1, betas=(0.9, 0.99), weight_decay=0.1, foreach=True),
        [
            [[0.3950000033333332, -0.8900000024999999], [1.385000009999999, 1.8800000049999996]],
            [[0.35095548391569964, -0.8973651533686654], [1.274762527925895, 1.7648125199324405]],
        ],
    ),
    # As adamw with the numerator .9 m + .1 g: the first step is 1.9 times as long.
    "nadamw": (
        lambda weights: NAdamWOptimizer(weights, lr=0.1, betas=(0.9, 0.99), weight_decay=0.1),
        [
            [[0.30500000633333313, -0.8000000047499999], [1.2950000189999982, 1.7900000094999995]],
            [[0.28944995022665915, -0.8647284651270328], [1.128827159533922, 1.6188771452908794]],
        ],
    ),
}


def trajectory(build: Build) -> list[torch.Tensor]:
    weight = torch.tensor(W0, dtype=torch.float64, requires_grad=True)
    optimizer = build([weight])
    steps = []
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        steps.append(weight.detach().clone())
    return steps


@pytest.mark.parametrize("name", RULES)
def test_two_steps_by_hand(name: str) -> None:
    build, expected = RULES[name]
    for found, wanted in zip(trajectory(build), expected, strict=True):
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-9)


def test_nadamw_is_adamw_of_another_numerator() -> None:
    """With b1 = 0 both numerators are the gradient: the two rules must be one."""
    torch.manual_seed(0)
    ours = [torch.randn(3, 4, requires_grad=True), torch.randn(5, requires_grad=True)]
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    a = NAdamWOptimizer(ours, lr=0.01, betas=(0.0, 0.9), weight_decay=0.3)
    b = torch.optim.AdamW(theirs, lr=0.01, betas=(0.0, 0.9), weight_decay=0.3)
    for _ in range(5):
        for weight, twin in zip(ours, theirs, strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone()
        a.step()
        b.step()
    for weight, twin in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight, twin, rtol=1e-6, atol=1e-7)


def test_nadamw_leaves_parameters_without_gradient_alone_and_resumes() -> None:
    weights = [torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)]
    optimizer = NAdamWOptimizer(weights, lr=0.1)
    weights[0].grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(weights[1], torch.ones(2))
    again = NAdamWOptimizer(weights, lr=0.5)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["step"] == 1
    assert again.param_groups[0]["lr"] == 0.1


def test_nadamw_evaluates_a_closure() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimizer = NAdamWOptimizer([weight], lr=0.1)

    def closure() -> torch.Tensor:
        loss = weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    assert float(optimizer.step(closure)) == 1.0
    assert float(weight.detach()) < 1.0
