"""The settings' POD as the pre-flight, the plan and the stages see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.data.demo import ENCODER_FOLDER
from podsquad.estimates import estimate
from podsquad.pod import lay_out, model_sizes, pod_checks
from podsquad.runtimes.ipu.pod import ModelSizes
from tests.runtimes.torch.made_up import make_features


def settings(profile: str = "pod16", **changes: Any) -> Settings:
    return load_settings(profile, {name.replace("__", "."): value for name, value in changes.items()}).settings


def figures(of: Settings, features: Path | None = None, executable: Path | None = None) -> dict[str, tuple[str, str]]:
    return {each.name: (each.value, each.how) for each in estimate(of, features, executable)}


def test_sizes_come_from_settings_folders_and_what_is_known_of_the_hub(tmp_path: Path) -> None:
    assert model_sizes(settings()) == ModelSizes(12, 768, 3072, 12, 50265, 514, 1)
    config = json.loads((ENCODER_FOLDER / "config.json").read_text())
    assert model_sizes(settings("pod16-emulated")) == ModelSizes.of(config)
    scratch = settings(model__base="scratch", model__num_layers=5, features__tokenizer="train")
    assert model_sizes(scratch) == ModelSizes(5, 128, 512, 4, 4000, 386, 1)
    assert model_sizes(settings(model__base="someone/encoder")) is None
    (tmp_path / "config.json").write_text("{}")
    assert model_sizes(settings(model__base=str(tmp_path))) is None


@pytest.mark.parametrize("profile", ["pod16", "pod16-emulated"])
def test_the_shipped_profiles_pass_and_have_the_reference_s_plan(profile: str) -> None:
    checks = pod_checks(settings(profile))
    assert all(check.passed for check in checks), checks
    plan = lay_out(settings(profile)).plan
    assert (plan.replication, plan.ipus_per_replica, plan.gradient_accumulation, plan.batch) == (4, 4, 16, 256)


def test_features_that_are_there_are_counted(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features", num_train=70)
    (check,) = [each for each in pod_checks(settings(), features) if each.name == "features"]
    assert not check.passed
    assert "the 70 training features do not fill" in check.found


def test_an_old_config_file_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "ipu_config.json"
    path.write_text(json.dumps({"replication_factor": {"pod16": 4, "default": 1}, "profile_dir": "p"}))
    notes = [each.found for each in pod_checks(settings(ipu__config_file=path)) if each.name == "ipu.config_file"]
    assert len(notes) == 2
    assert any("profile_dir is left out" in note for note in notes)


def test_the_figures_of_a_run_on_a_pod(tmp_path: Path) -> None:
    features = make_features(tmp_path / "features", num_train=600)
    told = figures(settings(features__max_length=48, features__stride=8), features)
    assert told["POD"][0] == "16 of pod16"
    assert told["batch"] == ("256", "4 a micro-batch x 1 device iteration x 4 replicas x 16 accumulated")
    assert told["prediction's batch"][0] == "40"
    assert told["steps"] == ("4", "600 features in batches of 256, the last of 88 left out, 2 times")
    assert len(told["memory per IPU"][0].split(" / ")) == 4
    assert "started by" not in told


def test_without_features_what_can_be_told_is_told() -> None:
    told = figures(settings())
    assert told["steps"][0] == "not known yet"
    assert told["memory per IPU"][0].endswith("MB")
    assert figures(settings(model__base="someone/encoder"))["memory per IPU"][0] == "not known yet"


def test_an_emulated_run_says_so() -> None:
    assert "emulated" in figures(settings("pod16-emulated"))["POD"][1]
    assert "emulated" not in figures(settings())["POD"][1]


def test_the_command_for_several_hosts_is_shown() -> None:
    told = figures(settings(ipu__pod="pod64", ipu__ipus_per_host=16, training__batch_size=1024))
    command, how = told["started by"]
    assert command.startswith("poprun --num-instances 4 --num-replicas 16 --ipus-per-replica 4")
    assert command.endswith("python -m podsquad.runtimes.ipu train.job.json")
    assert how == "4 hosts, one process each"


def test_the_disk_is_that_of_the_executable_s_model(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"num_parameters": 2**18}))
    assert figures(settings(), None, tmp_path)["disk while training"][0] == "11 MiB"
