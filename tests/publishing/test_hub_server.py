"""The local Hub itself: where the genuine client never goes wrong it must not be more lenient than the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from tests.publishing.hub_place import REPOSITORY, TOKEN, Place
from tests.publishing.hub_server.calls import COMMITS_PER_PAGE
from tests.publishing.hub_server.people import Person

README = b"---\nlicense: mit\n---\n"


@pytest.fixture
def api(place: Place) -> HfApi:
    made = HfApi(endpoint=place.server.endpoint, token=TOKEN)
    made.create_repo(REPOSITORY)
    return made


def commit(api: HfApi, content: bytes, **more: object) -> str:
    operations = [CommitOperationAdd("README.md", README + content)]
    return str(api.create_commit(REPOSITORY, operations, commit_message="A change", **more).oid)


def status(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return int(error.value.response.status_code)


def test_a_commit_on_another_parent_than_the_head_is_refused_with_412(api: HfApi) -> None:
    first = commit(api, b"1")
    commit(api, b"2", parent_commit=first)
    with pytest.raises(HfHubHTTPError) as caught:
        commit(api, b"3", parent_commit=first)
    assert status(caught) == 412


def test_history_comes_in_pages(api: HfApi) -> None:
    made = [commit(api, str(number).encode()) for number in range(COMMITS_PER_PAGE + 5)]
    assert [each.commit_id for each in api.list_repo_commits(REPOSITORY)][:-1] == made[::-1]


def test_what_is_there_already_is_a_conflict_and_what_is_not_is_missing(api: HfApi) -> None:
    for _ in range(2):
        api.create_branch(REPOSITORY, branch="a/b", exist_ok=True)
        api.create_tag(REPOSITORY, tag="v-1", exist_ok=True)
        api.create_repo(REPOSITORY, exist_ok=True)
    for again in (
        lambda: api.create_branch(REPOSITORY, branch="a/b"),
        lambda: api.create_tag(REPOSITORY, tag="v-1"),
        lambda: api.create_repo(REPOSITORY),
    ):
        with pytest.raises(HfHubHTTPError) as caught:
            again()
        assert status(caught) == 409
    api.delete_branch(REPOSITORY, branch="a/b")
    for missing in (
        lambda: api.delete_branch(REPOSITORY, branch="a/b"),
        lambda: api.delete_tag(REPOSITORY, tag="v-2"),
        lambda: api.model_info(REPOSITORY, revision="v-2"),
        lambda: commit(api, b"", revision="a/b"),
    ):
        with pytest.raises(RevisionNotFoundError):
            missing()
    with pytest.raises(HfHubHTTPError) as caught:
        api.delete_branch(REPOSITORY, branch="main")
    assert status(caught) == 403


def test_who_may_not_see_a_private_repository_is_told_that_there_is_none(place: Place, api: HfApi) -> None:
    api.create_repo("ada/secret", private=True)
    place.server.world.people["hf_other"] = Person("grace")
    for token in ("hf_other", False):
        with pytest.raises(HfHubHTTPError) as caught:
            api.model_info("ada/secret", token=token)
        assert isinstance(caught.value, RepositoryNotFoundError)
        assert status(caught) == (401 if token is False else 404)
    assert api.model_info("ada/secret").private


def test_a_card_without_metadata_warns_and_a_broken_one_is_refused(api: HfApi) -> None:
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.create_commit(REPOSITORY, [CommitOperationAdd("README.md", b"# Hello")], commit_message="No metadata")
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        api.create_commit(REPOSITORY, [CommitOperationAdd("README.md", b"---\na: [\n---\n")], commit_message="Broken")


def test_a_large_file_is_refused_where_its_bytes_were_not_sent_or_are_others(place: Place, api: HfApi) -> None:
    url = f"{place.server.endpoint}/api/models/{REPOSITORY}/commit/main"
    value = {"path": "model.safetensors", "algo": "sha256", "oid": "0" * 64, "size": 3}
    lines = [{"key": "header", "value": {"summary": "x"}}, {"key": "lfsFile", "value": value}]
    content = "\n".join(json.dumps(line) for line in lines)
    answer = httpx2.post(url, content=content, headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 400
    place.server.fail("corrupt", "PUT", "^/put/", times=99)
    with pytest.raises(RuntimeError, match="Error while uploading") as caught:
        api.create_commit(
            REPOSITORY, [CommitOperationAdd("model.safetensors", b"\0" * 100)], commit_message="Damaged on its way"
        )
    assert isinstance(caught.value.__cause__, BadRequestError)


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [("", {}, 403), ("X-Amz-Signature=0", {}, 403), (None, {"authorization": "Bearer x"}, 400), (None, {}, 200)],
    ids=["unsigned", "badly-signed", "with-a-token", "signed"],
)
def test_the_storage_wants_a_signature_and_no_token(
    place: Place, query: str | None, headers: dict[str, str], expected: int
) -> None:
    place.server.world.people["x"] = Person("ada")
    place.server.world.large.put("0" * 64, b"abc")
    signed = query if query is not None else f"X-Amz-Signature={place.server.world.large.sign()}"
    answer = httpx2.get(f"{place.server.storage}/get/{'0' * 64}?{signed}", headers=headers)
    assert answer.status_code == expected


def test_it_runs_as_a_process_of_its_own_that_ends_with_its_starter(hub_client: list[float]) -> None:
    command = [sys.executable, "-m", "tests.publishing.hub_server", "--token", TOKEN, "--org", "lab"]
    home = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=home, text=True) as process:
        assert process.stdout
        told = json.loads(process.stdout.readline())
        api = HfApi(endpoint=told["endpoint"], token=TOKEN)
        api.create_repo("lab/model")
        fault = {"do": "status", "path": "/refs$", "status": 503}
        httpx2.post(f"{told['endpoint']}/-/faults", content=json.dumps(fault))
        with pytest.raises(HfHubHTTPError):
            api.list_repo_refs("lab/model")
        state = httpx2.get(f"{told['endpoint']}/-/state").json()
        assert state["repositories"]["lab/model"]["tags"] == {}
        assert [each["status"] for each in state["requests"]] == [200, 503]
        process.communicate(timeout=30)  # closes its standard input
        assert process.returncode == 0
