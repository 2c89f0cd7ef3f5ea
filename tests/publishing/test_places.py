"""Which target the settings name, and where it brings what it reads back."""

from __future__ import annotations

from pathlib import Path

from podsquad.config.load import load_settings
from podsquad.publishing.hub import HubTarget
from podsquad.publishing.places import target_of


def test_what_the_hub_holds_is_read_back_where_the_caller_has_room(tmp_path: Path) -> None:
    settings = load_settings("demo", {"publish.target": "hub", "publish.repository": "ada/reader"}).settings
    with target_of(settings.publish, work=tmp_path) as target:
        assert isinstance(target, HubTarget)
        assert target.work.parent == tmp_path
        assert target.work.is_dir()
    assert list(tmp_path.iterdir()) == []
