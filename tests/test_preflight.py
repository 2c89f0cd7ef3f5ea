"""What is found before anything runs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import namedtuple
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd

from podsquad import preflight
from podsquad.config.load import load_settings
from podsquad.config.settings import Settings
from podsquad.errors import DiskFullError, InputMissingError, SettingsError, StoreError
from podsquad.preflight import Check, first_failure, run_checks
from podsquad.publishing import places
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.hub_client import Hub
from podsquad.publishing.target import Target
from podsquad.runtimes.ipu.sdk import PINNED
from podsquad.stages.runtimes import RUNTIMES
from tests.publishing.conftest import hub_client, place  # noqa: F401
from tests.publishing.hub_place import REPOSITORY, TOKEN, Place, make_model
from tests.stages.fakes import FakeStages

ABSENT = {"data__source": "files", "data__train_file": __file__, "data__validation_file": "absent.json"}


@pytest.fixture(autouse=True)
def a_runtime_s_libraries(fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "torch", replace(RUNTIMES["torch"], libraries=("torch",)))


def check(settings: Settings, name: str) -> Check:
    return next(each for each in run_checks(settings) if each.name == name)


def test_all_is_well_and_nothing_is_written(fake_stages: FakeStages, tmp_path: Path) -> None:
    checks = run_checks(fake_stages.settings())
    names = ["store", "disk", "inputs", "runtime", "publication", "target's disk", "champion"]
    assert [each.name for each in checks] == names
    others = tuple(each for each in checks if each.name != "runtime")
    assert all(each.passed for each in others)
    assert first_failure(others) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "setting"), [("store", "store.path"), ("publication", "publish.folder")])
def test_a_file_in_a_folder_s_place(name: str, setting: str, fake_stages: FakeStages, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = fake_stages.settings(**{setting.replace(".", "__"): tmp_path / "file" / "below"})
    failed = check(settings, name)
    assert not failed.passed
    assert failed.found == f"{setting} {tmp_path}/file/below cannot be a folder: {tmp_path}/file is a file"
    assert f"--set {setting}=FOLDER" in failed.do
    assert type(first_failure((failed,))) is StoreError


@pytest.mark.parametrize("name", ["store", "publication"])
def test_a_folder_that_may_not_be_written(
    name: str, fake_stages: FakeStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    failed = check(fake_stages.settings(), name)
    assert not failed.passed
    assert failed.why == f"this user may not write to {tmp_path}"
    assert failed.error == "StoreError"


def test_a_disk_that_is_nearly_full(fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100 * 2**20))
    failed = check(fake_stages.settings(), "disk")
    assert failed.found == "only 100 MiB are free where store.path lies"
    assert type(first_failure((failed,))) is DiskFullError


def test_what_the_system_refuses_is_a_failed_check_too(
    fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Any:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    failed = check(fake_stages.settings(), "disk")
    assert not failed.passed
    assert "Input/output error" in failed.found
    assert "while checking the disk" in failed.found


def test_a_file_that_is_not_there(fake_stages: FakeStages) -> None:
    failed = check(fake_stages.settings(**ABSENT), "inputs")
    assert failed.found == "data.validation_file names absent.json, which is not there"
    assert type(first_failure((failed,))) is InputMissingError


def test_a_runtime_without_its_libraries(
    fake_stages: FakeStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("torch", "numpy", "safetensors")
    monkeypatch.setitem(RUNTIMES, "torch", replace(RUNTIMES["torch"], libraries=names))
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"torch": "absent", "numpy": "2.2", "safetensors": "absent"}\'\n')
    python.chmod(0o755)
    failed = check(fake_stages.settings(runtime__python=python), "runtime")
    assert failed.found == "the runtime torch lacks torch, safetensors"
    assert str(python) in failed.why
    assert type(first_failure((failed,))) is SettingsError


def test_a_runtime_tells_its_version_and_device(fake_stages: FakeStages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "library_versions", lambda names, python: {"torch": "2.13.0"})
    assert check(fake_stages.settings(runtime__device="cpu"), "runtime").found == "torch 2.13.0 on cpu"
    monkeypatch.setattr(preflight, "resolve_device", lambda device: "cuda")
    assert check(fake_stages.settings(), "runtime").found == "torch 2.13.0 on cuda (auto)"


def test_the_first_failure_is_the_error_with_all_its_parts() -> None:
    error = DiskFullError("what", why="why", do="do")
    found = first_failure((Check("a", True, "fine"), Check.failed("b", error), Check.failed("c", StoreError("later"))))
    assert found is not None
    assert (type(found), found.what, found.why, found.do) == (DiskFullError, "what", "why", "do")


def test_a_name_of_the_hub_without_a_commit_is_told(fake_stages: FakeStages) -> None:
    found = check(fake_stages.settings(model__base="someone/encoder"), "inputs")
    assert found.passed
    assert "model.base should have a revision" in found.found
    assert "revision" not in check(fake_stages.settings(), "inputs").found


POD = {"runtime__name": "ipu", "training__drop_last": True, "training__max_gradient_norm": None}


def ipu_interpreter(folder: Path, **versions: str) -> Path:
    """Make an interpreter that answers with these versions; it has no poptorch to import."""
    told = dict.fromkeys(RUNTIMES["ipu"].libraries, "1.0") | PINNED | {"poptorch": "absent"}
    told |= {name.replace("_", "-"): version for name, version in versions.items()}
    python = folder / "python"
    python.write_text(f"#!/bin/sh\ncase \"$*\" in *find_spec*) echo ;; *) echo '{json.dumps(told)}' ;; esac\n")
    python.chmod(0o755)
    return python


def test_without_sdk_and_emulation_both_ways_out_are_named(fake_stages: FakeStages, tmp_path: Path) -> None:
    failed = check(fake_stages.settings(**POD, runtime__python=ipu_interpreter(tmp_path)), "runtime")
    assert "there is no Poplar SDK" in failed.found
    assert "docker/ipu.Dockerfile" in failed.do
    assert "--profile pod16-emulated" in failed.do


def test_an_emulation_needs_no_sdk(fake_stages: FakeStages, tmp_path: Path) -> None:
    python = ipu_interpreter(tmp_path)
    found = check(fake_stages.settings(**POD, runtime__emulated=True, runtime__python=python), "runtime")
    assert found.passed
    assert "emulated" in found.found


def test_an_emulation_needs_the_rest(fake_stages: FakeStages, tmp_path: Path) -> None:
    python = ipu_interpreter(tmp_path, optimum_graphcore="absent")
    failed = check(fake_stages.settings(**POD, runtime__emulated=True, runtime__python=python), "runtime")
    assert failed.found == "the runtime ipu lacks optimum-graphcore"
    assert "make ipu-env" in failed.do


def test_what_lacks_beside_a_real_poptorch_is_installed_there(fake_stages: FakeStages, tmp_path: Path) -> None:
    python = ipu_interpreter(tmp_path, poptorch="3.3.0", optimum_graphcore="absent")
    failed = check(fake_stages.settings(**POD, runtime__python=python), "runtime")
    assert failed.found == "the runtime ipu lacks optimum-graphcore"
    assert failed.do.endswith(f"{python} -m pip install --requirement constraints-ipu.txt")


def test_an_environment_that_is_not_made_yet_says_how(fake_stages: FakeStages) -> None:
    failed = check(fake_stages.settings(**POD, runtime__emulated=True, runtime__python="absent/python"), "runtime")
    assert failed.found == "runtime.python names absent/python, which is not there"
    assert "make ipu-env" in failed.do
    failed = check(fake_stages.settings(**POD, runtime__python="absent/python"), "runtime")
    assert "an interpreter with the SDK 3.3 or 3.4" in failed.do  # that of make ipu-env has no poptorch


@pytest.mark.parametrize("emulated", [True, False], ids=["emulated", "on IPUs"])
def test_another_transformers_is_refused_with_the_one_that_fits(
    emulated: bool, fake_stages: FakeStages, tmp_path: Path
) -> None:
    sdk = {} if emulated else {"poptorch": "3.3.0", "torch": "2.0.1"}
    python = ipu_interpreter(tmp_path, transformers="4.49.0", **sdk)
    failed = check(fake_stages.settings(**POD, runtime__emulated=emulated, runtime__python=python), "runtime")
    assert failed.found == "the runtime ipu needs transformers 4.29.2, but transformers 4.49.0 is installed"
    assert ("make ipu-env" if emulated else f"{python} -m pip install") in failed.do


@pytest.mark.parametrize(("torch", "passed"), [("2.0.1", True), ("2.13.0", False)])
def test_the_sdk_s_versions_have_to_fit(torch: str, passed: bool, fake_stages: FakeStages, tmp_path: Path) -> None:
    python = ipu_interpreter(tmp_path, poptorch="3.3.0", torch=torch)
    found = check(fake_stages.settings(**POD, runtime__python=python), "runtime")
    assert found.passed == passed
    assert ("SDK 3.3" if passed else "needs torch 2.0.1") in found.found


def test_the_pod_s_plan_is_checked(fake_stages: FakeStages, tmp_path: Path) -> None:
    settings = fake_stages.settings(**POD, runtime__python=ipu_interpreter(tmp_path), ipu__replication=8)
    failed = check(settings, "IPUs")
    assert type(first_failure((failed,))) is SettingsError
    assert "ipu.pod=pod32" in failed.do
    assert check(settings, "executables").passed
    assert check(settings, "hosts").found == "one host"
    assert not any(each.name == "IPUs" for each in run_checks(fake_stages.settings()))


def test_compiled_programs_need_a_store_and_a_temporary_folder(
    fake_stages: FakeStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = ipu_interpreter(tmp_path)
    (tmp_path / "file").write_text("")
    settings = fake_stages.settings(**POD, runtime__python=python, store__path=tmp_path / "file")
    assert "--set store.path=FOLDER" in check(settings, "executables").do
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    failed = check(fake_stages.settings(**POD, runtime__python=python), "executables")
    assert not failed.passed
    assert "TMPDIR" in failed.do


def test_a_config_file_that_cannot_be_used_fails_the_pod_s_checks(fake_stages: FakeStages, tmp_path: Path) -> None:
    (tmp_path / "ipu_config.json").write_text("[]")
    settings = fake_stages.settings(
        **POD, runtime__python=ipu_interpreter(tmp_path), ipu__config_file=tmp_path / "ipu_config.json"
    )
    assert "it holds no object" in check(settings, "POD").found


def test_several_hosts_need_poprun(fake_stages: FakeStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    pod = {"ipu__pod": "pod64", "ipu__ipus_per_host": 16, "training__batch_size": 1024}
    settings = fake_stages.settings(**POD, **pod, runtime__python=ipu_interpreter(tmp_path))
    assert "poprun is not on the PATH" in check(settings, "hosts").found
    (tmp_path / "poprun").touch()
    (tmp_path / "poprun").chmod(0o755)
    assert check(settings, "hosts").found.startswith("under poprun --num-instances 4")


def test_the_hub_needs_a_repository_by_one_message() -> None:
    settings = load_settings("demo", {"publish.target": "hub"}).settings
    failure = first_failure(run_checks(settings))
    assert isinstance(failure, SettingsError)
    assert failure.what == "publish.target is hub, and publish.repository is not set"
    assert "--set publish.repository=OWNER/NAME" in failure.do
    assert "publication" not in [each.name for each in run_checks(settings, publish=False)]


def test_the_profile_of_the_pod_pushes_to_the_hub_and_says_what_it_lacks() -> None:
    checks = {each.name: each for each in run_checks(load_settings("pod16").settings)}
    assert not checks["publication"].passed
    assert "publish.repository" in checks["publication"].found
    assert "target's disk" not in checks


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Place:
    """A local Hub where ada may write."""
    made: Place = request.getfixturevalue("place")
    return made


def test_a_right_to_write_is_checked_at_the_hub(hub: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=hub.server.endpoint))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    mine, others = (
        load_settings("demo", {"publish.target": "hub", "publish.repository": name}).settings
        for name in ("ada/reader", "grace/reader")
    )
    checks = {each.name: each for each in run_checks(mine)}
    assert (checks["publication"].passed, checks["publication"].found) == (True, "ada may make ada/reader")
    failure = first_failure(run_checks(others))
    assert isinstance(failure, SettingsError)
    assert "may not publish to grace/reader" in failure.what
    assert TOKEN not in str(failure)


def test_a_token_of_a_block_is_checked_when_the_run_begins(hub: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=hub.server.endpoint))
    overrides = {"publish.target": "hub", "publish.repository": "grace/reader", "publish.token_block": "hub-token"}
    settings = load_settings("demo", overrides).settings
    monkeypatch.setenv("HF_TOKEN", "hf_OfSomebodyElse")  # the block's takes its place later
    checks = {each.name: each for each in run_checks(settings, block_is_read=False)}
    assert checks["publication"].found == "the token of the Secret block hub-token is checked when the run begins"
    assert checks["champion"].found == "the champion is looked at when the run begins"
    monkeypatch.setenv("HF_TOKEN", TOKEN)  # as tasks/hub_token.py has it then
    refused = check(settings, "publication")
    assert not refused.passed
    assert "the token of ada" in refused.found


@pytest.mark.parametrize("kind", ["folder", "hub"])
def test_what_the_night_will_be_compared_with_is_told_or_that_it_cannot_be(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target: Target = FolderTarget(tmp_path / "published", "reader")
    overrides = {"publish.folder": str(tmp_path / "published"), "publish.name": "reader"}
    if kind == "hub":
        place: Place = request.getfixturevalue("place")
        target = place.target()
        monkeypatch.setattr(places, "Hub", partial(Hub, endpoint=place.server.endpoint))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        overrides = {"publish.target": "hub", "publish.repository": REPOSITORY}
    settings = load_settings("demo", overrides).settings
    assert check(settings, "champion").found == f"there is none yet in {target.place}"
    model = make_model(tmp_path, 1)
    publication = target.publish(model.key, model.files, lambda folder: None)
    assert check(settings, "champion").found == f"{model.tag} in {target.place}"

    def harm(name: str, content: bytes) -> None:
        if kind == "folder":
            (Path(publication.url) / name).write_bytes(content)
        else:
            commit = place.target().hub.api.create_commit
            commit(REPOSITORY, [CommitOperationAdd(name, content)], commit_message="by hand")

    harm("config.json", b"{}")
    damaged = check(settings, "champion")
    assert damaged.passed  # the night puts it right, or compares with its scores
    assert damaged.found.startswith(f"{model.tag} in {target.place}; config.json of ")
    harm("files.json", b"{")
    lost = check(settings, "champion")
    assert (lost.passed, lost.error) == (False, "StoreError")
    assert f"the champion {model.tag} in {target.place} cannot be read" in lost.found
    assert "podsquad rollback --to TAG" in lost.do
    failure = first_failure((lost,))
    assert isinstance(failure, StoreError)
