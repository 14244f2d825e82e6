"""The suites `algoperf-0.5` and `algoperf-0.6` against golden properties, the sheets' tables and the draw."""

import json
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from timetrial.suite import Suite, SuiteWorkload, load_suite

# Typed by hand from spec: workloads/README.md, section 1, so that a slip in the TOML does not repeat here; columns
# "v0.5 max runtime s", "eval period s", "step_hint (v0.5)", "baseline train batch" and "eval batch".
V05 = {
    "criteo1tb": (7703, 120, 10666, 262144, 8192),
    "fastmri": (8859, 80, 36189, 32, 256),
    "imagenet_resnet": (63008, 510, 186666, 1024, 1024),
    "imagenet_vit": (77520, 420, 186666, 1024, 2048),
    "librispeech_conformer": (61068, 1440, 80000, 256, 256),
    "librispeech_deepspeech": (55506, 1440, 48000, 256, 256),
    "ogbg": (18477, 240, 80000, 512, 32768),
    "wmt": (48151, 840, 133333, 128, 128),
}

# Targets of every base workload and variant: the same in both versions (spec: protocol.md, section 10).
TARGETS = {
    "criteo1tb": (0.123735, 0.126041),
    "criteo1tb_layernorm": (0.123757, 0.126152),
    "criteo1tb_embed_init": (0.129657, 0.131967),
    "criteo1tb_resnet": (0.12415, 0.12648),
    "fastmri": (0.723653, 0.740633),
    "fastmri_model_size": (0.723559, 0.740726),
    "fastmri_tanh": (0.717840, 0.734505),
    "fastmri_layernorm": (0.723284, 0.739996),
    "imagenet_resnet": (0.77431, 0.6560),
    "imagenet_resnet_silu": (0.75445, 0.6323),
    "imagenet_resnet_gelu": (0.76765, 0.6519),
    "imagenet_resnet_large_bn_init": (0.76526, 0.6423),
    "imagenet_vit": (0.77309, 0.6519),
    "imagenet_vit_glu": (0.75738, 0.6359),
    "imagenet_vit_post_ln": (0.75312, 0.6286),
    "imagenet_vit_map": (0.77113, 0.6523),
    "librispeech_conformer": (0.085884, 0.052981),
    "librispeech_conformer_attention_temperature": (0.109977, 0.068065),
    "librispeech_conformer_layernorm": (0.09731, 0.05996),
    "librispeech_conformer_gelu": (0.094114, 0.056629),
    "librispeech_deepspeech": (0.119936, 0.074143),
    "librispeech_deepspeech_tanh": (0.150883, 0.098613),
    "librispeech_deepspeech_no_resnet": (0.131564, 0.079297),
    "librispeech_deepspeech_norm_and_spec_aug": (0.14342, 0.090976),
    "ogbg": (0.28098, 0.268729),
    "ogbg_gelu": (0.27771, 0.262926),
    "ogbg_silu": (0.282178, 0.272144),
    "ogbg_model_size": (0.269446, 0.253051),
    "wmt": (30.8491, 30.7219),
    "wmt_post_ln": (30.0779, 29.8982),
    "wmt_attention_temp": (29.3379, 29.4143),
    "wmt_glu_tanh": (29.5779, 29.0515),
}

METRICS = {
    "criteo1tb": ("loss", "minimize"),
    "fastmri": ("ssim", "maximize"),
    "imagenet_resnet": ("accuracy", "maximize"),
    "imagenet_vit": ("accuracy", "maximize"),
    "librispeech_conformer": ("wer", "minimize"),
    "librispeech_deepspeech": ("wer", "minimize"),
    "ogbg": ("mean_average_precision", "maximize"),
    "wmt": ("bleu", "maximize"),
    "finewebedu_lm": ("ppl", "minimize"),
}

# The field of a workload, and the golden property it must equal.
GOLDEN_FIELDS = {
    "metric": "target_metric_name",
    "validation_target": "validation_target_value",
    "test_target": "test_target_value",
    "train_examples": "num_train_examples",
    "eval_examples.train": "num_eval_train_examples",
    "eval_examples.validation": "num_validation_examples",
    "eval_examples.test": "num_test_examples",
    "eval_batch_size": "eval_batch_size",
    "evaluation_period.seconds": "eval_period_time_sec",
    "budget": "max_allowed_runtime_sec",
    "step_hint": "step_hint",
}

# The leaderboard's later configuration moved it (spec: workloads/finewebedu_lm.md, "Latest public figures").
GOLDEN_EXCEPTIONS = {("finewebedu_lm", "validation_target"): 22.2995}

# Typed from spec: protocol.md, section 9, in its order, each name without its pool's.
HELD_OUT_POOLS = [
    (
        "librispeech",
        [
            "conformer_attention_temperature",
            "conformer_layernorm",
            "deepspeech_no_resnet",
            "deepspeech_norm_and_spec_aug",
            "deepspeech_tanh",
        ],
    ),
    (
        "imagenet",
        ["resnet_silu", "resnet_gelu", "resnet_large_bn_init", "vit_glu", "vit_post_ln", "vit_map"],
    ),
    ("ogbg", ["gelu", "silu", "model_size"]),
    ("wmt", ["post_ln", "attention_temp", "glu_tanh"]),
    ("fastmri", ["model_size", "tanh", "layernorm"]),
    ("criteo1tb", ["layernorm", "embed_init", "resnet"]),
]

NOT_IN_A_SUITE = {
    "criteo1tb_test": "for debugging only",
    "mnist": "development workload",
    "cifar": "development workload",
    "lm": "unfinished draft of finewebedu_lm",
}


@pytest.fixture(scope="module")
def v05() -> Suite:
    return load_suite("algoperf-0.5")


@pytest.fixture(scope="module")
def v06() -> Suite:
    return load_suite("algoperf-0.6")


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, dict[str, object]]:
    """Golden `workload_properties` by workload."""
    found = {}
    for path in sorted((shared / "golden").glob("*.json")):
        properties = json.loads(path.read_text())
        if "workload_properties" in properties:
            found[path.stem] = properties["workload_properties"]
    return found


def field(workload: SuiteWorkload, dotted: str) -> object:
    value: object = workload
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def mismatches(suite: Suite, golden: dict[str, dict[str, object]], fields: dict[str, str]) -> list[str]:
    """Every field that differs from the golden property; targets to a rounding error (0.6519 is 1 - 0.3481)."""
    found = []
    for name, workload in suite.all_workloads.items():
        for ours, theirs in fields.items() if name in golden else ():
            expected = GOLDEN_EXCEPTIONS.get((name, ours), golden[name][theirs])
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-12, abs=0)
            if field(workload, ours) != expected:
                found.append(f"{name}.{ours} is {field(workload, ours)}, golden {expected}")
    return found


def test_v06_equals_golden_properties(v06: Suite, golden: dict[str, dict[str, object]]) -> None:
    assert set(golden) - set(v06.all_workloads) == set(NOT_IN_A_SUITE)
    assert mismatches(v06, golden, GOLDEN_FIELDS) == []


def test_v05_equals_golden_properties_but_for_budgets_and_hints(
    v05: Suite, golden: dict[str, dict[str, object]]
) -> None:
    fields = {ours: theirs for ours, theirs in GOLDEN_FIELDS.items() if ours not in {"budget", "step_hint"}}
    assert set(golden) - set(v05.all_workloads) == {*NOT_IN_A_SUITE, "finewebedu_lm"}
    assert mismatches(v05, golden, fields) == []


def test_v05_numbers_are_those_of_the_sheet(v05: Suite) -> None:
    found = {
        name: (w.budget, w.evaluation_period.seconds, w.step_hint, w.batch_size, w.eval_batch_size)
        for name, w in v05.workloads.items()
    }
    assert found == V05


@pytest.mark.parametrize("name", ["algoperf-0.5", "algoperf-0.6"])
def test_targets_and_names_are_those_of_the_sheet(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    found = {key: (w.validation_target, w.test_target) for key, w in suite.all_workloads.items()}
    language_model = {"finewebedu_lm": (22.2995, None)} if name == "algoperf-0.6" else {}
    assert found == {**TARGETS, **language_model}
    assert set(suite.variants) == {key for key in TARGETS if key not in METRICS}
    assert len(suite.variants) == 24
    assert {(w.base, w.metric, w.direction) for w in suite.all_workloads.values()} == {
        (base, *METRICS[base]) for base in suite.workloads
    }


@pytest.mark.parametrize("name", ["algoperf-0.5", "algoperf-0.6"])
def test_variants_change_only_targets_and_the_batch_sizes_of_four(name: str) -> None:
    suite = load_suite(name)
    changed = {}
    for key, variant in suite.variants.items():
        base = suite.workloads[variant.base]
        changes = {
            attribute: field(variant, attribute)
            for attribute in [*GOLDEN_FIELDS, "batch_size", "preset", "direction"]
            if not attribute.endswith("_target") and field(variant, attribute) != field(base, attribute)
        }
        if changes:
            changed[key] = changes
        assert key.startswith(variant.base)
    assert changed == {
        "imagenet_resnet_silu": {"batch_size": 512},
        "imagenet_resnet_gelu": {"batch_size": 512},
        "imagenet_vit_glu": {"batch_size": 512},
        "librispeech_deepspeech_norm_and_spec_aug": {"eval_batch_size": 128},
    }


@pytest.mark.parametrize("name", ["algoperf-0.5", "algoperf-0.6"])
def test_training_subset_fills_whole_evaluation_batches(name: str) -> None:
    fixed = {"ogbg": 43_793, "finewebedu_lm": 10_000}
    for workload in load_suite(name).all_workloads.values():
        batch, sizes = workload.eval_batch_size, workload.eval_examples
        assert sizes.train == fixed.get(workload.base, ceil(sizes.validation / batch) * batch), workload.name


def test_held_out_variants_are_what_the_seed_draws(v05: Suite, v06: Suite) -> None:
    held_out = v05.held_out
    assert held_out is not None
    assert v06.held_out is None
    generator = np.random.default_rng(3_438_810_845)
    assert held_out.draw_seed == 3_438_810_845
    assert held_out.drawn == tuple(pool[generator.integers(len(pool))] for pool in held_out.pools.values())
    assert held_out.drawn == (
        "librispeech_conformer_layernorm",
        "imagenet_resnet_large_bn_init",
        "ogbg_model_size",
        "wmt_glu_tanh",
        "fastmri_tanh",
        "criteo1tb_embed_init",
    )


def test_held_out_pools_stand_in_the_order_of_the_draw(v05: Suite) -> None:
    assert v05.held_out is not None
    short = {key: [name.removeprefix(f"{key}_") for name in pool] for key, pool in v05.held_out.pools.items()}
    assert list(short.items()) == HELD_OUT_POOLS
    pooled = {name for pool in v05.held_out.pools.values() for name in pool}
    assert set(v05.variants) - pooled == {"librispeech_conformer_gelu"}


@pytest.mark.parametrize(
    ("name", "external", "self_tuning"),
    [("algoperf-0.5", (5, 5, 1.0), (5, 1, 3.0)), ("algoperf-0.6", (3, 5, 1.0), (3, 1, 1.5))],
)
def test_rulesets_and_protocol(
    name: str, external: tuple[int, int, float], self_tuning: tuple[int, int, float]
) -> None:
    suite = load_suite(name)
    found = {key: (rules.studies, rules.trials, rules.budget_factor) for key, rules in suite.rulesets.items()}
    assert found == {"external": external, "self": self_tuning}
    protocol = suite.protocol
    assert (protocol.setup_on_clock, protocol.stop_when) == (False, "both_targets")
    assert (protocol.precision, protocol.sampler, protocol.threads) == ("float32", "algoperf", None)
    assert suite.scoring.r_max == 4.0


def test_later_workload_is_marked_by_its_source(v05: Suite, v06: Suite) -> None:
    assert set(v06.workloads) - set(v05.workloads) == {"finewebedu_lm"}
    assert "later public state" in (v06.workload("finewebedu_lm").source or "")
    assert all(w.source is None for key, w in v06.all_workloads.items() if key != "finewebedu_lm")
    assert "2c90454f" in v06.source
    assert "v0.5.0" in v05.source
