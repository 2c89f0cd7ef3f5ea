"""An ipu_config.json of any age becomes settings, with a note on what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podsquad.config.load import load_settings
from podsquad.errors import InputMissingError, SettingsError
from podsquad.runtimes.ipu.old_config import read_ipu_config, resolve_ipu

OLD = {
    "enable_half_first_order_momentum": True,
    "embedding_serialization_factor": 1,
    "gradient_accumulation_steps": 16,
    "inference_device_iterations": 5,
    "inference_replication_factor": {"default": 1, "pod16": 4, "pod4": 1},
    "ipus_per_replica": 4,
    "layers_per_ipu": [0, 4, 4, 4],
    "matmul_proportion": 0.25,
    "optimizer_state_offchip": False,
    "optimum_version": "1.0.0",
    "output_mode": "final",
    "profile_dir": "/tmp/profile",
    "recompute_checkpoint_every_layer": True,
    "replicated_tensor_sharding": True,
    "replication_factor": {"default": 1, "pod16": 4, "pod4": 1, "pod64": 16},
    "seed": 42,
    "transformers_version": "4.18.0",
    "use_popdist": False,
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "ipu_config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(("pod", "replication"), [("pod4", 1), ("pod16", 4), ("pod64", 16), ("pod8", 1)])
def test_an_old_file_is_brought_up_to_date_with_notes(tmp_path: Path, pod: str, replication: int) -> None:
    values, notes = read_ipu_config(written(tmp_path, OLD), pod)
    assert values["replication"] == replication
    assert values["layers_per_ipu"] == [0, 4, 4, 4]
    assert values["matmul_proportion"] == [0.25]
    assert values["recompute"] is True
    told = "\n".join(notes)
    assert "profile_dir is left out" in told
    assert "seed is left out: training.seed says so" in told
    assert f"replication_factor is {replication}, that of" in told
    assert "use_popdist" not in told  # it was off: nothing changes
    assert all(note.startswith("ipu_config.json: ") for note in notes)


def test_its_values_go_before_the_section_s(tmp_path: Path) -> None:
    path = written(tmp_path, {"layers_per_ipu": [3, 9], "optimizer_state_offchip": True, "replication_factor": 2})
    ipu = load_settings("pod16", {"ipu.config_file": path}).settings.model_dump(mode="json")["ipu"]
    resolved, notes = resolve_ipu(ipu)
    assert (resolved["layers_per_ipu"], resolved["ipus_per_replica"], resolved["replication"]) == ([3, 9], 2, 2)
    assert resolved["optimizer_state_offchip"] is True
    assert resolved["micro_batch"] == 4
    assert notes == []


def test_without_a_file_the_section_stays(tmp_path: Path) -> None:
    ipu = load_settings("pod16").settings.model_dump(mode="json")["ipu"]
    assert resolve_ipu(ipu) == (ipu, [])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "it is not JSON"),
        ("[]", "it holds no object"),
        ({"replication": 4}, "names replication, which optimum-graphcore 0.7.1 does not know"),
        ({"replication_factor": {"pod4": 1}}, "has values for pod4, none for pod16"),
        ({"replication_factor": 0}, "is 0, not a whole number of at least 1"),
        ({"device_iterations": True}, "is True, not a whole number"),
        ({"layers_per_ipu": [-1]}, "is [-1], not one number of layers"),
        ({"matmul_proportion": [0.2, 2]}, "not one or several shares"),
        ({"enable_half_partials": 1}, "is 1, neither true nor false"),
        ({"output_mode": "all"}, "output_mode is 'all', which podsquad does not do"),
        ({"auto_loss_scaling": True}, "auto_loss_scaling is True"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_ipu_config(written(tmp_path, content), "pod16")
    assert problem in caught.value.what
    assert "ipu.config_file" in caught.value.do


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match="cannot be read"):
        read_ipu_config(tmp_path / "absent.json", "pod16")
