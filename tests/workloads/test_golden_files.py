"""The tools that compare with golden vectors are right themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_files import assert_summary, dropout_stand_in, load_golden, normal, uniform


def test_random_numbers_are_those_that_the_readme_prints():
    np.testing.assert_array_equal(
        normal("conv1.weight", (3,)), [0.12690052906658253, 0.5438239424955942, -1.7824613015617836]
    )
    np.testing.assert_array_equal(
        uniform("input:criteo1tb:categorical", (3,)), [0.4255267028601819, 0.9925854997988689, 0.11632467192733398]
    )


def test_a_summary_agrees_with_its_array_and_with_nothing_else(shared):
    golden = load_golden(shared, "imagenet_vit")
    summary = golden.content["inputs"]["inputs"]
    inputs = golden.batch()["inputs"]
    assert_summary(inputs, summary, golden.arrays, atol=1e-8)
    with pytest.raises(AssertionError):
        assert_summary(inputs + 1e-6, summary, golden.arrays, atol=1e-8)


def test_the_stand_in_multiplies_and_lists_its_sites():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    with dropout_stand_in() as sites:
        assert torch.equal(F.dropout(x, 0.25), 0.75 * x)
        assert torch.equal(F.dropout(x, 0.25, training=False), x)
        assert torch.equal(F.dropout2d(x, 0.5), 0.5 * x)
        attended = F.scaled_dot_product_attention(x, x, x, dropout_p=0.25)
        causal = F.scaled_dot_product_attention(x, x, x, is_causal=True, dropout_p=0.5)
    assert sites == [[2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 4], [2, 3, 4, 4]]
    torch.testing.assert_close(attended, 0.75 * F.scaled_dot_product_attention(x, x, x))
    torch.testing.assert_close(causal, 0.5 * F.scaled_dot_product_attention(x, x, x, is_causal=True))
