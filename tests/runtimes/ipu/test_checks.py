"""A plan that cannot run is told before anything is compiled, with the setting to change."""

from __future__ import annotations

from typing import Any

import pytest

from podsquad.config.fields import settings_fields
from podsquad.config.load import load_settings
from podsquad.errors import SettingsError
from podsquad.runtimes.ipu.checks import PodCheck, check_plan, raise_first_failure
from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan

BASE = ModelSizes(12, 768, 3072, 12, 50265, 514, 1)


def checks(num_features: int | None = 88_568, sizes: ModelSizes | None = BASE, **changes: Any) -> dict[str, PodCheck]:
    given = {name.replace("__", "."): value for name, value in changes.items()}
    settings = load_settings("pod16", given).settings
    sections = settings.model_dump(mode="json")
    plan = PodPlan.of(sections["ipu"], settings.training.batch_size)
    max_length = settings.features.max_length
    made = check_plan(plan, sections, max_length=max_length, sizes=sizes, num_features=num_features)
    assert len({each.name for each in made}) == len(made)
    return {each.name: each for each in made}


def test_the_reference_run_passes_every_check() -> None:
    made = checks()
    assert made.keys() == {"IPUs", "pipeline", "batch", "recipe", "layers", "features", "memory"}
    assert all(each.passed for each in made.values())
    assert not any(each.why or each.do for each in made.values())
    raise_first_failure(list(made.values()))


@pytest.mark.parametrize(
    ("name", "change", "found", "way_out"),
    [
        ("IPUs", {"ipu__replication": 8}, "takes 32 IPUs, but pod16 has 16", "to 4 or lower, or ipu.pod=pod32"),
        ("IPUs", {"ipu__inference_replication": 8}, "takes 32 IPUs", "set ipu.inference_replication to 4"),
        ("IPUs", {"ipu__ipus_per_replica": 32, "ipu__replication": 1}, "takes 32 IPUs", "lower ipu.ipus_per_replica"),
        ("pipeline", {"ipu__pod": "pod64"}, "is 4, but a pipeline of 4 IPUs needs 7", "set training.batch_size to 448"),
        ("pipeline", {"ipu__pod": "pod64", "ipu__device_iterations": 2}, "needs 7", "set training.batch_size to 448"),
        ("pipeline", {"ipu__gradient_accumulation": 6, "training__batch_size": 96}, "is 6", "accumulation to 7"),
        ("batch", {"training__batch_size": 250}, "= 240 features", "set training.batch_size=240"),
        ("batch", {"ipu__gradient_accumulation": 8}, "= 128 features", "ipu.gradient_accumulation"),
        ("batch", {"ipu__ipus_per_host": 6, "ipu__replication": 4}, "evenly among 3 hosts", "ipu.ipus_per_host"),
        ("recipe", {"training__max_gradient_norm": 1.0}, "cannot be clipped", "training.max_gradient_norm=none"),
        ("recipe", {"training__drop_last": False}, "always left out", "training.drop_last=true"),
        ("recipe", {"ipu__bias_correction": False}, "does not heed", "ipu.bias_correction=true"),
        ("layers", {"ipu__layers_per_ipu": "4,4,4"}, "names 3 IPUs", "ipu.ipus_per_replica=3"),
        ("layers", {"ipu__layers_per_ipu": "4,4,4,4"}, "adds up to 16 layers", "adds up to 12"),
        ("features", {"num_features": 255}, "255 training features do not fill", "training.batch_size"),
        ("memory", {"ipu__recompute": False}, "of 900 MB", "set ipu.recompute=true"),
        ("memory", {"ipu__micro_batch": 16, "training__batch_size": 1024}, "of 900 MB", "lower ipu.micro_batch"),
        ("memory", {"ipu__matmul_proportion": "0.1,0.2"}, "names 2 shares for 4 IPUs", "ipu.matmul_proportion"),
    ],
)  # fmt: skip
def test_a_failed_check_says_which_setting_to_change(
    name: str, change: dict[str, Any], found: str, way_out: str
) -> None:
    check = checks(**change)[name]
    assert not check.passed
    assert found in check.found
    assert way_out in check.do
    assert check.why
    assert any(field in check.do for field in settings_fields() if "." in field)
    with pytest.raises(SettingsError) as caught:
        raise_first_failure([check])
    assert (caught.value.what, caught.value.why, caught.value.do) == (check.found, check.why, check.do)


def test_what_is_not_known_yet_is_not_judged() -> None:
    made = checks(num_features=None, sizes=None)
    assert made.keys() == {"IPUs", "pipeline", "batch", "recipe", "layers"}
    assert "not known yet" in made["layers"].found


def test_without_bias_correction_only_the_emulation_runs() -> None:
    settings = {"ipu__bias_correction": False, "runtime__emulated": True}
    assert checks(**settings)["recipe"].passed


def test_ipus_that_stay_idle_are_told() -> None:
    assert "8 stay idle" in checks(ipu__replication=2)["IPUs"].found
