"""What lies where models are published, and anybody may have written: believed where it is right, else named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st

from podsquad.errors import DataError, PodsquadError
from podsquad.publishing.folder import FolderTarget
from podsquad.publishing.folder_turns import TURNS_FILE
from podsquad.publishing.hub_state import ROLLBACK_TITLE, read_state
from podsquad.publishing.listing import FILES_FILE, Listing
from podsquad.publishing.receipt import RECEIPT_FILE, encode_receipt, read_receipt, version_key
from podsquad.publishing.target import TargetState, refuse_withdrawn, tag_of
from podsquad.publishing.verify import Published, verify_published
from podsquad.store.contents import FileDigest, digest_file
from podsquad.store.durable import encode_json
from tests.hostile.budget import hostile
from tests.hostile.inputs import damaged_bytes, damaged_json, damaged_value
from tests.publishing.receipts import make_artifacts

KEY = "0123456789abcdef" * 4
TAG = tag_of(KEY)
LISTING: Any = {
    "key": KEY,
    "files": {
        name: {"num_bytes": 5, "sha256": "a" * 64} for name in ("config.json", "model.safetensors", "plots/loss.png")
    },
}
WITHDRAWN: Any = {tag_of("f" * 64): {"reason": "it was bad", "restored": TAG, "at": "20260101T000000Z"}}
TURNS: Any = {
    "turns": [
        {"key": "f" * 64, "at": "20260101T000000Z", "reason": ""},
        {"key": KEY, "at": "20260102T000000Z", "reason": "bad"},
    ]
}


@hostile("listing", content=damaged_json(LISTING))
def test_a_listing_names_files_below_a_folder_or_is_refused(content: bytes) -> None:
    try:
        listing = Listing.parse(content)
    except ValueError as error:
        assert str(error)
        return
    home = Path("/home/nobody")
    for name, entry in listing.files.items():
        assert (home / name).is_relative_to(home)
        assert ".." not in Path(name).parts
        assert type(entry.num_bytes) is int
        assert isinstance(entry.sha256, str)
    assert Listing.parse(listing.encode()) == listing
    assert listing.differing(home) == list(listing.files)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a genuine version."""
    made = make_artifacts(tmp_path_factory.mktemp("receipts"))
    receipt = encode_receipt(made.receipt())
    files = {name: path.read_bytes() for name, path in made.files.items()} | {RECEIPT_FILE: receipt}
    digests = {name: digest_file(path) for name, path in made.files.items()}
    digests[RECEIPT_FILE] = FileDigest(len(receipt), version_key(receipt))
    return files | {FILES_FILE: Listing(version_key(receipt), digests).encode()}


@st.composite
def damaged_text(draw: Any, content: bytes) -> bytes:
    """Damage a JSON file; often so that it is written as podsquad writes it, for what stands in it to be looked at."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged_bytes(content))
    try:
        return encode_json(draw(damaged_value(json.loads(content))))
    except (ValueError, TypeError):  # NaN, half a surrogate pair, keys of several kinds
        return draw(damaged_json(json.loads(content)))


@hostile(
    "receipt",
    data=st.data(),
    names=st.sampled_from([(RECEIPT_FILE,), (FILES_FILE,), (RECEIPT_FILE, FILES_FILE), ("metrics.json",)]),
)
def test_a_version_is_what_its_receipt_says_or_the_difference_is_named(
    version: dict[str, bytes], data: Any, names: tuple[str, ...]
) -> None:
    files = version | {name: data.draw(damaged_text(version[name])) for name in names}
    if RECEIPT_FILE in names:
        try:
            assert encode_receipt(read_receipt(files[RECEIPT_FILE])) == files[RECEIPT_FILE]
        except DataError as error:
            assert RECEIPT_FILE in error.what
    tag = tag_of(version_key(files[RECEIPT_FILE])) if data.draw(st.booleans()) else ""

    def digest(name: str) -> FileDigest:
        return FileDigest(len(files[name]), version_key(files[name]))

    _, findings = verify_published(Published("here", frozenset(files), files.__getitem__, digest, tag))
    assert findings
    if files != version:
        assert any(finding.is_fault for finding in findings)


@hostile(
    "notes of a target",
    withdrawn=damaged_json(WITHDRAWN) | st.none(),
    listing=damaged_json(LISTING),
    turns=damaged_json(TURNS),
)
def test_the_state_of_a_target_is_read_or_refused(
    tmp_path_factory: Any, withdrawn: bytes | None, listing: bytes, turns: bytes
) -> None:
    valid = json.dumps(LISTING).encode()
    files = {FILES_FILE: valid if withdrawn else listing, "withdrawn.json": withdrawn, RECEIPT_FILE: turns}
    now, message = datetime.now(UTC), f"podsquad-version: {KEY}"
    history = [
        SimpleNamespace(title=title, message=message, commit_id="c" * 40, created_at=now)
        for title in (f"Publish {TAG}", ROLLBACK_TITLE.format(TAG, TAG), "Publish")
    ]
    hub: Any = SimpleNamespace(
        repository="ada/model",
        url="https://hub/ada/model",
        api=SimpleNamespace(list_repo_refs=None, list_repo_commits=None),
        find=lambda *_: SimpleNamespace(branches=[SimpleNamespace(name="main", target_commit="c" * 40)], tags=[]),
        call=lambda *_, **__: history,
        read=lambda name, revision, scratch: files[name],
    )
    home: Path = tmp_path_factory.getbasetemp() / "published" / "model"
    (home / "versions" / TAG).mkdir(parents=True, exist_ok=True)
    if not (home / "current").is_symlink():
        (home / "current").symlink_to(f"versions/{TAG}")
    (home / "versions" / TAG / FILES_FILE).write_bytes(listing if len(turns) % 2 else valid)
    (home / TURNS_FILE).write_bytes(turns)
    for read in (lambda: read_state(hub, Path("scratch")), FolderTarget(home.parent, home.name).state):
        try:
            state: TargetState = read()
            refuse_withdrawn(state, KEY, "there")
            assert state.previous is None or state.previous.tag.startswith("v-")
            assert state.champion is None or isinstance(state.champion.key, str)
        except PodsquadError as error:
            assert error.what
            assert error.do
