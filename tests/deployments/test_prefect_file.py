"""What prefect.yaml and the template of the Docker pool say, without a server."""

from __future__ import annotations

import json
import re
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.home import CHECKOUT, CHECKOUT_VARIABLE, POOL, PREFECT_FILE

CONTENT: dict[str, Any] = yaml.safe_load((CHECKOUT / PREFECT_FILE).read_text(encoding="utf-8"))
DEPLOYMENTS = {each["name"]: each for each in CONTENT["deployments"]}


@pytest.mark.parametrize("name", ["nightly", "on-demand", "canary", "demo"])
def test_the_flow_takes_a_deployment_s_parameters(name: str) -> None:
    from flows.canary import canary
    from flows.retrain import retrain

    deployment = DEPLOYMENTS[name]
    flow = canary if name == "canary" else retrain
    assert deployment["entrypoint"] == f"flows/{flow.name}.py:{flow.name}"
    assert deployment["work_pool"]["name"] == POOL
    flow.validate_parameters(deployment["parameters"])
    assert deployment["parameters"].keys() <= flow.parameters.properties.keys()


def test_schedules_are_off_and_have_a_time_zone() -> None:
    # Where the word is left out, "prefect deploy" asks for a schedule on a terminal.
    schedules = [each for deployment in DEPLOYMENTS.values() for each in deployment["schedules"] or ()]
    assert len(schedules) == 2
    for schedule in schedules:
        assert schedule["active"] is False
        assert schedule["slug"]
        zoneinfo.ZoneInfo(schedule["timezone"])


def test_no_path_of_a_machine_is_in_it() -> None:
    (step,) = CONTENT["pull"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": f"{{{{ ${CHECKOUT_VARIABLE} }}}}"}}
    assert not re.search(r"(^|\s)/\w", (CHECKOUT / PREFECT_FILE).read_text())


def test_the_docker_pool_s_template_is_whole() -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    template = json.loads(Path(CHECKOUT / "deployments/docker-pool.json").read_text(encoding="utf-8"))
    pool = WorkPoolCreate(name="pod-docker", type="docker", base_job_template=template)
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])
    environ = pool.base_job_template["variables"]["properties"]["env"]["default"]
    assert environ[CHECKOUT_VARIABLE] == "/app"
