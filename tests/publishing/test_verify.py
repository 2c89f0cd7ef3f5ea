"""Verification: every byte of what is published, of the receipt, of the store; and what cannot be verified says so."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from podsquad.command.verify import verify
from podsquad.errors import InputMissingError, SettingsError, StoreError
from podsquad.publishing.findings import Finding, Verification
from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.receipt import RECEIPT_FILE, encode_receipt, version_key
from podsquad.publishing.target import tag_of
from podsquad.publishing.verify_source import open_folder, open_repository, open_version
from tests.publishing.hub_place import REPOSITORY, Place
from tests.publishing.receipts import PUBLISHED, Made, make_artifacts

ALL = (*PUBLISHED, "README.md", RECEIPT_FILE, FILES_FILE)


STATEMENTS = {"gate.champion", "podsquad"}  # what rests on nothing that anybody could look at


def publish(made: Made, folder: Path, **changes: Any) -> Path:
    """Put a version where the folder publisher would; return its folder."""
    content = encode_receipt(made.receipt(**changes))
    home = folder / "versions" / tag_of(version_key(content))
    for name, path in made.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, home / name)
    (home / RECEIPT_FILE).write_bytes(content)
    files = {**made.files, RECEIPT_FILE: home / RECEIPT_FILE}
    (home / FILES_FILE).write_bytes(Listing.of(version_key(content), files).encode())
    return home


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_artifacts(tmp_path)


@pytest.fixture
def version(made: Made, tmp_path: Path) -> Path:
    return publish(made, tmp_path / "published")


def look(folder: Path, **more: Any) -> Verification:
    return verify(open_folder(folder), **more)


def faults(verification: Verification) -> dict[str, str]:
    return {finding.name: finding.state for finding in verification.faults}


def unchecked(verification: Verification) -> set[str]:
    return {finding.name for finding in verification.findings if finding.state == "not checked"}


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_a_version_is_as_its_receipt_says(made: Made, version: Path) -> None:
    found = look(version, store=made.store)
    assert found.is_whole
    assert found.version == version_key((version / RECEIPT_FILE).read_bytes())
    assert {each.name for each in found.findings if each.where == "published"} == set(ALL)
    claims = {each.name for each in found.findings if each.where == "receipt"}
    stages = {f"stages.{name}" for name in made.artifacts}
    # Every field of the receipt but the published files, which are told as files.
    assert claims == stages | {"data", "seed", "hardware", "scores", "gate"} | STATEMENTS
    files = {
        f"{stage}/{artifact.key}/{path.relative_to(artifact.path).as_posix()}"
        for stage, artifact in made.artifacts.items()
        for path in artifact.path.rglob("*")
        if path.is_file()
    }
    assert {each.name for each in found.findings if each.where == "store"} == files
    assert unchecked(found) == STATEMENTS
    assert unchecked(look(version)) == STATEMENTS | {"hardware"}


@pytest.mark.parametrize("name", ALL)
def test_each_changed_byte_of_each_published_file_is_found_and_named(version: Path, name: str) -> None:
    content = (version / name).read_bytes()
    # Every byte of a small file; of a long one enough to meet each of its kinds: names, digests, numbers, spaces.
    for at in range(0, len(content), max(1, len(content) // 97)):
        flip(version / name, at)
        assert faults(look(version)) == {name: "changed"}, at
        (version / name).write_bytes(content)
    assert look(version).is_whole


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_named(version: Path, name: str) -> None:
    (version / name).unlink()
    assert faults(look(version)) == {name: "missing"}


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "plots/other.png", ".hidden", "withdrawn.json", ".gitattributes", ".cache/other"]
)
def test_a_file_too_many_is_named(version: Path, name: str) -> None:
    (version / name).parent.mkdir(exist_ok=True)
    (version / name).write_text("not podsquad's")
    assert faults(look(version)) == {name: "extra"}


def test_what_the_hub_s_client_keeps_beside_a_download_is_too_many_in_a_folder_s_own_version(version: Path) -> None:
    planted = (".cache/huggingface/evil.bin", "withdrawn.json", ".gitattributes")
    (version / ".cache/huggingface").mkdir(parents=True)
    for name in planted:
        (version / name).write_text("not podsquad's")
    assert faults(look(version)) == dict.fromkeys(planted, "extra")


def test_a_link_to_a_folder_and_a_pipe_are_not_taken_for_files(made: Made, version: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (version / "plots").rename(elsewhere)
    (version / "plots").symlink_to(elsewhere)
    assert faults(look(version)) == {"plots": "extra", "plots/loss.png": "missing"}
    (version / "plots").unlink()
    elsewhere.rename(version / "plots")
    (version / "config.json").unlink()
    os.mkfifo(version / "config.json")
    with pytest.raises(StoreError, match=r"cannot read .*config\.json: it is no regular file"):
        look(version)
    plan = made.artifacts["compile"].path / "plan.json"
    plan.unlink()
    os.mkfifo(plan)
    (version / "config.json").unlink()
    shutil.copyfile(made.files["config.json"], version / "config.json")
    assert list(faults(look(version, store=made.store)).values()) == ["changed"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(version: Path) -> None:
    (version / "config.json").chmod(0)
    with pytest.raises(StoreError, match=r"cannot read .*config\.json"):
        look(version)


def test_another_version_under_a_version_s_name_is_found(made: Made, version: Path) -> None:
    other = version.with_name("v-000000000000")
    version.rename(other)
    assert faults(look(other)) == {"v-000000000000": "changed"}
    copy = other.with_name("a-copy")
    other.rename(copy)
    assert look(copy).is_whole


def test_the_pointer_leads_to_the_version(version: Path) -> None:
    pointer = version.parent.parent / "current"
    pointer.symlink_to(Path("versions") / version.name)
    assert look(pointer).is_whole
    flip(version / "config.json", 0)
    assert faults(look(pointer)) == {"config.json": "changed"}


def artifact_files() -> list[str]:
    from tests.publishing import receipts

    return [f"{stage}/{name}" for stage, files in receipts._FILES.items() for name in (*files, "manifest.json")]


@pytest.mark.parametrize("file", artifact_files())
def test_a_changed_byte_of_each_artifact_file_is_found_and_named(made: Made, version: Path, file: str) -> None:
    stage, _, name = file.partition("/")
    artifact = made.artifacts[stage]
    content = (artifact.path / name).read_bytes()
    for at in range(0, len(content), max(1, len(content) // 40)):
        flip(artifact.path / name, at)
        found = look(version, store=made.store).faults
        assert found, at
        # A manifest alone knows what lies outside the digest: where the two differ, both are named.
        assert all(each.name == f"{stage}/{artifact.key}/{name}" or "manifest.json" in each.told for each in found), at
        (artifact.path / name).write_bytes(content)


@pytest.mark.parametrize("file", artifact_files())
def test_a_missing_file_of_an_artifact_is_named(made: Made, version: Path, file: str) -> None:
    stage, _, name = file.partition("/")
    artifact = made.artifacts[stage]
    (artifact.path / name).unlink()
    assert faults(look(version, store=made.store)) == {f"{stage}/{artifact.key}/{name}": "missing"}


def test_a_file_too_many_and_an_artifact_too_few_are_named(made: Made, version: Path) -> None:
    compiled, features = made.artifacts["compile"], made.artifacts["tokenize"]
    (compiled.path / "more").write_text("more")
    shutil.rmtree(features.path)
    assert faults(look(version, store=made.store)) == {
        f"compile/{compiled.key}/more": "extra",
        f"tokenize/{features.key}": "missing",
    }


def test_without_a_receipt_nothing_is_said_about_the_store(made: Made, version: Path) -> None:
    (version / RECEIPT_FILE).unlink()
    found = look(version, store=made.store, data=["demo"])
    assert found.version == ""
    assert {each.where for each in found.findings if each.state == "not checked"} == {"receipt", "store", "data"}
    # The listing still tells whether the files are whole.
    flip(version / "config.json", 0)
    assert faults(look(version)) == {RECEIPT_FILE: "missing", "config.json": "changed"}


def test_a_listing_that_names_files_elsewhere_is_not_followed(version: Path, tmp_path: Path) -> None:
    (version / RECEIPT_FILE).unlink()
    (tmp_path / "secret").write_text("secret")
    (version / FILES_FILE).write_bytes(Listing.of("a" * 64, {"../../../secret": tmp_path / "secret"}).encode())
    assert faults(look(version))[FILES_FILE] == "changed"


@pytest.mark.parametrize("where", ["nothing/here/at/all", "no name", ""])
def test_what_is_nowhere_is_said(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissingError):
        open_version(where, tmp_path / "scratch")


def test_a_folder_that_podsquad_did_not_publish_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputMissingError, match="holds nothing that podsquad published"):
        open_folder(tmp_path)


def put_on_hub(place: Place, made: Made, repository: str = REPOSITORY, *, private: bool = False) -> str:
    """Publish as the Hub publisher does; return the tag."""
    content = encode_receipt(made.receipt())
    (place.folder / RECEIPT_FILE).write_bytes(content)
    target = place.target(repository, private=private)
    target.publish(version_key(content), {**made.files, RECEIPT_FILE: place.folder / RECEIPT_FILE}, place.smoke)
    return tag_of(version_key(content))


def look_on_hub(place: Place, revision: str, **more: Any) -> Verification:
    hub = place.target(**more).hub
    return verify(open_repository(hub, revision, place.folder / "scratch"))


def test_the_hub_s_version_is_as_its_receipt_says(place: Place, made: Made) -> None:
    tag = put_on_hub(place, made)
    for revision in ("main", tag, place.repository().branches["main"]):
        found = look_on_hub(place, revision)
        assert found.is_whole, found.faults
        assert {each.name for each in found.findings if each.where == "published"} == set(ALL)
    assert not (place.folder / "scratch").exists()


@pytest.mark.parametrize("name", ALL)
def test_a_changed_byte_on_the_hub_is_found_and_named(place: Place, made: Made, name: str) -> None:
    tag = put_on_hub(place, made)
    content = bytearray(place.content(name))
    content[len(content) // 2] ^= 1
    api = place.target().hub.api
    api.upload_file(path_or_fileobj=bytes(content), path_in_repo=name, repo_id=REPOSITORY)
    assert faults(look_on_hub(place, "main")) == {name: "changed"}
    assert look_on_hub(place, tag).is_whole


def test_files_of_others_on_the_hub_are_named_and_the_hub_s_own_are_not(place: Place, made: Made) -> None:
    put_on_hub(place, made)
    api = place.target().hub.api
    for name in (".gitattributes", "withdrawn.json", "modeling.py"):
        api.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=REPOSITORY)
    assert faults(look_on_hub(place, "main")) == {"modeling.py": "extra"}


def test_a_download_of_a_repository_is_held_against_its_receipt_as_the_repository_is(
    place: Place, made: Made, tmp_path: Path
) -> None:
    put_on_hub(place, made)
    api = place.target().hub.api
    for name in ("withdrawn.json", "modeling.py"):
        api.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=REPOSITORY)
    folder = tmp_path / "downloaded"
    api.snapshot_download(REPOSITORY, local_dir=folder)  # as `hf download --local-dir` does it
    assert any((folder / ".cache/huggingface").rglob("*.metadata"))
    assert (folder / ".gitattributes").is_file()
    assert faults(look(folder)) == {"modeling.py": "extra"}
    snapshot = Path(api.snapshot_download(REPOSITORY, cache_dir=tmp_path / "cache"))
    assert faults(look(snapshot)) == {"modeling.py": "extra"}


def test_a_moved_tag_is_found(place: Place, made: Made, tmp_path: Path) -> None:
    tag = put_on_hub(place, made)
    put_on_hub(place, make_artifacts(tmp_path / "other", weights="other weights"))
    api = place.target().hub.api
    api.delete_tag(REPOSITORY, tag=tag)
    api.create_tag(REPOSITORY, tag=tag, revision="main")
    assert faults(look_on_hub(place, tag)) == {tag: "changed"}


def test_a_private_repository_needs_a_token(place: Place, made: Made) -> None:
    put_on_hub(place, made, "lab/secret", private=True)
    assert look_on_hub(place, "main", repository="lab/secret").is_whole
    with pytest.raises((InputMissingError, SettingsError)) as caught:
        look_on_hub(place, "main", repository="lab/secret", token="hf_SomebodyElse00000000000000000000")
    assert "HF_TOKEN" in str(caught.value)


def test_what_the_hub_does_not_hold_is_said(place: Place, made: Made) -> None:
    put_on_hub(place, made)
    with pytest.raises(InputMissingError, match="there is no ada/squad-model@v-123"):
        look_on_hub(place, "v-123")
    with pytest.raises(InputMissingError, match="there is no ada/nothing@main"):
        look_on_hub(place, "main", repository="ada/nothing")


def test_a_listing_of_the_hub_cannot_write_outside_its_folder(place: Place, made: Made, tmp_path: Path) -> None:
    put_on_hub(place, made)
    repository = place.repository()
    head = repository.find("main")
    (tmp_path / "elsewhere").write_text("mine")
    listing = Listing.of("a" * 64, {"../elsewhere": tmp_path / "elsewhere"}).encode()
    head.files["../elsewhere"] = head.files["config.json"]
    api = place.target().hub.api
    api.upload_file(path_or_fileobj=listing, path_in_repo=FILES_FILE, repo_id=REPOSITORY)
    api.delete_file(RECEIPT_FILE, REPOSITORY)
    found = look_on_hub(place, "main")
    assert faults(found)[FILES_FILE] == "changed"
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_verification_is_told_as_json() -> None:
    finding = Finding("published", "config.json", "changed", "why")
    told = Verification("folder", "a" * 64, (finding,)).to_json()
    assert (told["is_whole"], told["findings"][0]["name"]) == (False, "config.json")
    json.dumps(told)
