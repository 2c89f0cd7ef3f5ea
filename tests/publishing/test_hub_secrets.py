"""A canary for a token: through every failure it is in no log, error, traceback, record or representation."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from podsquad import hub_waits
from podsquad.errors import PodsquadError
from podsquad.publishing import hub_client
from podsquad.publishing.hub_rights import check_rights
from tests.publishing.hub_place import TOKEN, Place, make_model
from tests.publishing.hub_server.people import Person

ODD_TOKEN = "a-token-of-another-kind-0123456789"  # not of the form that every log filter knows


def told_by(error: BaseException) -> str:
    """Return all that can be printed of an error: its chain, and what stands in the frames that are not a test's."""
    lines, link = [], error
    while link is not None:
        lines.append(f"{link!r} {link!s} {link.args!r} {vars(link)!r}")
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if Path(__file__).parent not in Path(frame.f_code.co_filename).parents:
                lines += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    assert any(line.startswith("self = ") for line in lines)
    return "\n".join(lines)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[], str]:
    """Return what was said by logs, on the terminal, and in files."""
    for name in (None, "huggingface_hub", "httpx2"):
        caplog.set_level(logging.DEBUG, name)
    caplog.set_level(logging.INFO, "httpcore2")  # below, it prints what the Hub sends, and this Hub repeats the token

    def all_of_it() -> str:
        captured = capfd.readouterr()
        files = [path.read_bytes().decode("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()]
        return "\n".join([caplog.text, captured.out, captured.err, *files])

    return all_of_it


def fail_and_listen(place: Place, told: Callable[[], str], token: str, do: str, status: int, path: str) -> None:
    """Publish to a Hub that fails, and repeats the token while it does, and look at all that is said of it."""
    place.server.world.people[token] = Person("ada")
    target, model = place.target(token=token), make_model(place.folder, 1)
    echo = f"bad header authorization: Bearer {token}, and {token} again"
    place.server.fail(do, ".*", path, times=10_000, status=status, message=echo)

    def work() -> None:
        check_rights(target.hub, private=False)
        target.publish(model.key, model.files, place.smoke)

    with pytest.raises(PodsquadError) as caught:
        work()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert token not in told_by(caught.value)
    assert token not in told()
    assert token not in "\n".join(place.lines)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_waits, "ANSWER_SECONDS", 0.02)
    monkeypatch.setattr(hub_client, "ATTEMPTS", 2)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "path", ["whoami", "create", "/refs$", "/preupload/", "/batch", "^/put/", "commit/main", "/tag/"]
)
@pytest.mark.parametrize(
    ("do", "status"), [*(("status", status) for status in (400, 401, 403, 404, 429, 500)), ("cut", 0), ("never", 0)]
)
def test_no_failure_tells_the_token(place: Place, told: Callable[[], str], do: str, status: int, path: str) -> None:
    fail_and_listen(place, told, TOKEN, do, status, path)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("path", ["whoami", "/preupload/", "^/put/"])
@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_token_of_another_kind_is_not_told_either(
    place: Place, told: Callable[[], str], status: int, path: str
) -> None:
    fail_and_listen(place, told, ODD_TOKEN, "status", status, path)


def test_a_success_tells_the_token_to_nobody(place: Place, told: Callable[[], str]) -> None:
    target, model = place.target(), make_model(place.folder, 1)
    publication = target.publish(model.key, model.files, place.smoke)
    said = [repr(target), repr(target.hub), repr(publication), json.dumps(asdict(publication)), repr(target.state())]
    assert TOKEN not in "\n".join([*said, *place.lines, told()])
    assert all(TOKEN.encode() not in content for files in place.asked for content in files.values())
    history = place.repository().history("main")
    assert all(TOKEN not in each.title + each.message for each in history)


def test_the_storage_never_sees_the_token(place: Place) -> None:
    place.publish(make_model(place.folder, 1))
    paths = [each.path for each in place.server.log if each.path.startswith(("/put/", "/get/"))]
    assert len(paths) > 2
    assert all(each.status == 200 for each in place.server.log if each.path in paths)  # it refuses one with a token


@pytest.fixture
def client_log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the genuine client writes to standard error by itself."""
    written = io.StringIO()
    for handler in logging.getLogger("huggingface_hub").handlers:
        if isinstance(handler, logging.StreamHandler):
            monkeypatch.setattr(handler, "stream", written)
    return written


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [400, 500, 503])
def test_signatures_of_addresses_are_not_told(
    place: Place, status: int, client_log: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    place.server.fail("status", "PUT", "^/put/", times=10_000, status=status, message="X-Amz-Signature=0a1b2c is wrong")
    target = place.target()
    model = make_model(place.folder, 1)
    with pytest.raises(PodsquadError) as caught:
        target.publish(model.key, model.files, place.smoke)
    told = f"{caught.value} {client_log.getvalue()} {caplog.text} {place.lines}"
    assert (f"HTTP Error {status} thrown while requesting PUT" in client_log.getvalue()) == (status != 400)
    signed = place.server.world.large.signed
    assert signed
    assert not any(signature in told for signature in (*signed, "0a1b2c"))


def test_signatures_of_what_is_downloaded_are_not_told_either(
    place: Place, client_log: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    commit = place.publish(make_model(place.folder, 1))
    place.server.world.large.signed.clear()
    place.server.fail("cut", "GET", "^/get/", times=1)
    place.target().hub.download(["model.safetensors"], commit, place.folder / "fetched")
    assert "Error while downloading from" in client_log.getvalue()
    signed = place.server.world.large.signed
    assert signed
    assert not any(signature in client_log.getvalue() + caplog.text for signature in signed)
