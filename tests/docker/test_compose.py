"""compose.yaml: against the specification's schema, and against what podsquad needs of it."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deployments import worker
from deployments.home import CHECKOUT
from podsquad.config.fields import settings_fields
from tests.docker import dockerfile
from tests.docker.compose import CUDA, MAIN, MissingVariableError, Project, env_file, interpolate, seconds, variables
from tests.docker.dockerfile import FLOW, FOLDER, TORCH, WORKDIR

EXAMPLE = FOLDER / "env.example"
SECRETS = {"POSTGRES_PASSWORD": "secret-of-postgres", "PREFECT_AUTH": "me:secret-of-prefect"}
PROJECT = Project(SECRETS)
SERVICES = PROJECT.services
OWN = ("server", "register", "worker")
POOL: dict[str, Any] = json.loads((CHECKOUT / "deployments/docker-pool.json").read_text(encoding="utf-8"))


def schema() -> Any:
    text = resources.files("check_jsonschema.builtin_schemas").joinpath("vendor/compose-spec.json").read_text("utf-8")
    return json.loads(text)


@pytest.mark.parametrize("path", [MAIN, CUDA], ids=lambda path: path.name)
def test_the_files_follow_the_compose_specification(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.validate(content, schema())  # as it is written
    jsonschema.validate(interpolate(content, SECRETS), schema())


@pytest.mark.parametrize(
    "wrong",
    [{"comand": ["x"]}, {"depends_on": {"x": {"condition": "ready"}}}, {"restart": True}],
    ids=["misspelt", "no such condition", "of another type"],
)
def test_the_schema_refuses_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"x": {"image": "y", **wrong}}}, schema())


def test_the_gpu_s_file_only_adds_to_a_service_that_is_there() -> None:
    added = yaml.safe_load(CUDA.read_text(encoding="utf-8"))
    assert added.keys() == {"services"}
    assert added["services"].keys() == {"worker"}


def test_what_a_service_names_is_there() -> None:
    for name, service in SERVICES.items():
        mounts = [each["source"] if isinstance(each, dict) else each for each in service.get("volumes", [])]
        named = {source for each in mounts if not (source := each.partition(":")[0]).startswith("/")}
        assert named <= PROJECT.content["volumes"].keys(), name
        assert set(service.get("networks", ["default"])) <= PROJECT.content["networks"].keys(), name
        for other, condition in PROJECT.needs(name).items():
            assert ("healthcheck" in SERVICES[other]) == (condition == "service_healthy"), f"{name} needs {other}"
    dockerfiles = {name: service["build"]["dockerfile"] for name, service in SERVICES.items() if "build" in service}
    assert dockerfiles == {
        "server": "docker/flow.Dockerfile",
        "register": "docker/flow.Dockerfile",
        "worker": "docker/torch.Dockerfile",
    }
    # The image that torch.Dockerfile begins from is the one of that service.
    assert SERVICES["worker"]["build"]["additional_contexts"] == {dockerfile.base(TORCH): "service:server"}


def test_services_start_in_an_order_that_ends() -> None:
    assert PROJECT.needs("worker") == {"server": "service_healthy", "register": "service_completed_successfully"}
    assert PROJECT.needs("register") == {"server": "service_healthy"}
    assert PROJECT.needs("server") == {"postgres": "service_healthy"}
    assert PROJECT.needs("postgres") == {}


def test_services_come_back_and_what_is_done_stays_done() -> None:
    restarts = {name: service["restart"] for name, service in SERVICES.items()}
    assert restarts == {
        "postgres": "unless-stopped",
        "server": "unless-stopped",
        "worker": "unless-stopped",
        "register": "on-failure:3",
    }


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_a_missing_secret_is_said_by_name(missing: str) -> None:
    with pytest.raises(MissingVariableError, match=f"fill in {missing} in docker/.env"):
        Project({name: value for name, value in SECRETS.items() if name != missing})
    with pytest.raises(MissingVariableError):
        Project({**SECRETS, missing: ""})


def test_secrets_are_in_no_file_of_the_repository() -> None:
    for service in yaml.safe_load(MAIN.read_text(encoding="utf-8"))["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|TOKEN|SECRET|KEY", name):
                assert value is None or re.fullmatch(r"\$\{\w+:\?[^}]*\}", value), name
    example = env_file(EXAMPLE.read_text(encoding="utf-8"))
    assert example == dict.fromkeys(SECRETS, "")
    ignored = subprocess.run(["git", "check-ignore", "-q", "docker/.env"], cwd=CHECKOUT, check=False).returncode
    assert ignored == 0, "git would take docker/.env"


def test_the_example_names_every_variable_and_no_other() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    passed_on = {"HF_TOKEN", "PIP_EXTRA_INDEX_URL"}  # named without a value, so that unset stays unset
    assert set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)) == variables(MAIN).keys() | passed_on
    assert {name for name, kind in variables(MAIN).items() if kind == "?"} == SECRETS.keys()
    written = MAIN.read_text(encoding="utf-8")
    for name, value in re.findall(r"^#([A-Z_]+)=(.*)$", text, re.MULTILINE):
        if name not in passed_on | {"WEBHOOK"}:  # what it shows is the default
            assert f"${{{name}:-{value}}}" in written


def test_the_host_s_network_sees_nothing_but_the_server_on_its_loopback() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"server": ["127.0.0.1:4200:4200"]}
    assert Project({**SECRETS, "PODSQUAD_PORT": "4300"}).services["server"]["ports"] == ["127.0.0.1:4300:4200"]
    # Of the containers only the server reaches the database.
    reach = {name for name, service in SERVICES.items() if "database" in service.get("networks", ["default"])}
    assert reach == {"postgres", "server"}


@pytest.mark.parametrize("name", OWN)
def test_our_containers_have_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert not service.keys() & {"privileged", "cap_add", "user", "network_mode", "pid", "devices"}
    assert int(service["logging"]["options"]["max-file"]) > 1


def test_the_worker_gets_the_time_to_let_its_runs_save() -> None:
    needed = worker.GRACE_SECONDS + worker._REPORT_SECONDS
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > needed
    assert SERVICES["worker"]["command"] == ["python", "-m", "deployments.worker"]


def test_the_worker_is_one_and_keeps_its_name() -> None:
    # Its name tells which runs are its own (deployments/sweep.py). With a container's name Compose refuses to scale.
    assert SERVICES["worker"]["hostname"] == "pod"
    assert SERVICES["worker"]["container_name"] == "podsquad-worker"


def test_the_store_outlives_a_container_and_belongs_to_the_image_s_user() -> None:
    assert "state:/app/.podsquad" in SERVICES["worker"]["volumes"]
    owned = [each.rest for each in dockerfile.of(FLOW, "RUN") if each.rest.startswith("install --directory")]
    assert owned == ["install --directory --owner podsquad --group podsquad .podsquad"]
    assert dockerfile.environment(FLOW)["HF_HOME"].startswith(f"{WORKDIR}/.podsquad/")


def test_an_accelerator_s_lock_is_the_host_s_for_every_container() -> None:
    (lock,) = [each for each in SERVICES["worker"]["volumes"] if isinstance(each, dict)]
    assert lock == {"type": "bind", "source": "/run/lock", "target": "/run/lock"}
    # Said to podsquad too: by itself it would fall back to the container's own folder where that one cannot be written.
    assert PROJECT.environment("worker")["PODSQUAD_RUNTIME__LOCK_FOLDER"] == lock["target"]


def test_every_variable_is_one_that_prefect_or_podsquad_reads() -> None:
    from prefect.settings import get_current_settings
    from prefect.settings.legacy import _get_settings_fields

    known = set(_get_settings_fields(type(get_current_settings())))
    names = {name for service in SERVICES for name in PROJECT.environment(service)}
    names |= dockerfile.environment(FLOW).keys() | POOL["variables"]["properties"]["env"]["default"].keys()
    prefect = {name for name in names if name.startswith("PREFECT_")}
    assert len(prefect) > 10
    assert prefect <= known
    fields = {name.removeprefix("PODSQUAD_").lower().replace("__", ".") for name in names if "__" in name}
    assert fields
    assert fields <= settings_fields().keys()


def test_the_docker_pool_s_runs_are_as_the_worker_is() -> None:
    default = {name: each.get("default") for name, each in POOL["variables"]["properties"].items()}
    assert default["image"] == SERVICES["worker"]["image"]
    assert default["networks"] == [PROJECT.content["networks"]["default"]["name"]]
    state = PROJECT.content["volumes"]["state"]["name"]
    assert default["volumes"] == [f"{state}:{WORKDIR}/.podsquad", "/run/lock:/run/lock"]
    lock = "PODSQUAD_RUNTIME__LOCK_FOLDER"
    assert default["env"][lock] == PROJECT.environment("worker")[lock]
    assert default["privileged"] is False
