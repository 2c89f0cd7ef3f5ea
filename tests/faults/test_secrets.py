"""A token in the environment of a whole run is in nothing that the run made."""

from __future__ import annotations

from tests.faults.place import Chain
from tests.faults.telling import files_with_token


def test_the_token_is_in_no_artifact_publication_or_record(chain: Chain) -> None:
    assert len([path for path in chain.folder.rglob("*") if path.is_file()]) > 40
    assert files_with_token(chain.folder) == []
