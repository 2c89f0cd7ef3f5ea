"""A token in the environment of a whole run is in nothing that the run made."""

from __future__ import annotations

from tests.faults.place import CANARY, Chain


def test_the_token_is_in_no_artifact_publication_or_record(chain: Chain) -> None:
    files = [path for path in chain.folder.rglob("*") if path.is_file()]
    assert len(files) > 40
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
