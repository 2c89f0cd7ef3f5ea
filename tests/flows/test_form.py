"""The form that starts a run: what it offers, says and refuses, as Prefect's server sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.form import OFFERED, Changes, merged
from flows.retrain import retrain
from podsquad.config.fields import settings_fields
from podsquad.config.section import STAGE_NAMES
from podsquad.config.settings import PROFILE_NAMES
from podsquad.config.training_settings import TrainingSettings
from podsquad.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """What a deployment keeps of the flow's parameters."""
    made: dict[str, Any] = parameter_schema(retrain).model_dump_for_openapi()
    return made


def test_choices_are_choices_and_every_parameter_says_what_it_is(schema: dict[str, Any]) -> None:
    fields = schema["properties"]
    assert list(fields) == ["profile", "changes", "refresh", "publish", "note", "overrides"]
    assert all(field["description"] and "default" in field for field in fields.values())
    assert fields["profile"]["enum"] == list(PROFILE_NAMES)
    assert fields["refresh"]["items"]["enum"] == list(STAGE_NAMES)
    assert (fields["publish"]["type"], fields["note"]["type"]) == ("boolean", "string")
    # A choice of kinds ("a list or null") would be a field of two steps.
    assert not any("anyOf" in field for field in fields.values())


def test_the_offered_settings_have_the_bounds_and_descriptions_of_the_settings(schema: dict[str, Any]) -> None:
    ours, theirs = schema["definitions"]["Changes"], TrainingSettings.model_json_schema()["properties"]
    assert [f"training.{name}" for name in ours["properties"]] == list(OFFERED)
    assert ours["additionalProperties"] is False
    for name, field in ours["properties"].items():
        bounds = {key: value for key, value in theirs[name].items() if "imum" in key}
        assert {key: value for key, value in field.items() if "imum" in key} == bounds
        assert bounds
        assert field["type"] == theirs[name]["type"]
        assert field["description"].startswith(settings_fields()[f"training.{name}"].description)
        assert "default" not in field
    rate = ours["properties"]["learning_rate"]["description"]
    assert "More than 0 and at most 1. Empty: as the profile says (demo 0.001, cpu 3e-05, gpu 6e-05" in rate
    assert "Empty: as the profile says (1984 in each)." in ours["properties"]["seed"]["description"]


@pytest.mark.parametrize(
    ("parameters", "is_taken"),
    [
        ({}, True),
        ({"changes": {"epochs": 3, "learning_rate": 0.5}, "refresh": ["train"], "overrides": {"a": 1}}, True),
        ({"changes": {"epochs": 0}}, False),
        ({"changes": {"learning_rate": 1.5}}, False),
        ({"changes": {"epoch": 1}}, False),
        ({"profile": "pod"}, False),
        ({"refresh": ["gate"]}, False),
        ({"publish": "maybe"}, False),
    ],
    ids=str,
)
def test_the_server_refuses_what_is_not_allowed(
    schema: dict[str, Any], parameters: dict[str, Any], is_taken: bool
) -> None:
    assert jsonschema.Draft202012Validator(schema).is_valid(parameters) == is_taken


def test_the_form_s_own_defaults_are_allowed(schema: dict[str, Any]) -> None:
    defaults = {name: field["default"] for name, field in schema["properties"].items()}
    assert defaults["changes"] == {}
    jsonschema.validate(json.loads(json.dumps(defaults)), schema)


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"learning_rate": float("inf")}, {"epoch": 1}, {"seed": -1}], ids=str
)
def test_the_box_checks_itself(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Changes(**values)


def test_what_is_empty_changes_nothing() -> None:
    assert merged(Changes(), {}) == {}
    assert merged(None, None) == {}
    assert merged(Changes(epochs=2, seed=None), {"training.beta1": "0.8"}) == {
        "training.epochs": 2,
        "training.beta1": "0.8",
    }


def test_one_setting_is_not_set_twice() -> None:
    with pytest.raises(SettingsError, match=r"training\.epochs is set twice"):
        merged(Changes(epochs=2), {"training.epochs": 3})


def test_a_flow_that_is_loaded_by_its_file_takes_its_parameters(tmp_path: Path) -> None:
    """As a worker does it: there the names in the flow's signature cannot be looked up in a module."""
    program = """
from prefect.flows import load_flow_from_entrypoint
flow = load_flow_from_entrypoint("flows/retrain.py:retrain")
print(flow.validate_parameters({"profile": "demo", "changes": {"epochs": 2}})["changes"].epochs)
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120
    )
    assert child.stdout.strip() == "2", child.stderr


def test_the_server_says_what_it_refuses(prefect_server: str) -> None:
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(retrain)
        deployment_id = client.create_deployment(
            flow_id=flow_id,
            name="form",
            parameter_openapi_schema=parameter_schema(retrain).model_dump_for_openapi(),
            enforce_parameter_schema=True,
        )
        with pytest.raises(PrefectHTTPStatusError, match=r"changes\.learning_rate.*5.*maximum"):
            client.create_flow_run_from_deployment(deployment_id, parameters={"changes": {"learning_rate": 5}})
        run = client.create_flow_run_from_deployment(deployment_id, parameters={"changes": {"learning_rate": 0.5}})
        assert run.parameters == {"changes": {"learning_rate": 0.5}}
        client.delete_deployment(deployment_id)
