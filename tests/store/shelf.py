"""A store with one builder, for tests."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from podsquad.store.artifacts import Artifact, Store
from podsquad.store.keys import Ingredients, key_of, make_ingredients


def ingredients(rate: float = 1.0) -> Ingredients:
    settings = {"training.learning_rate": rate}
    return make_ingredients(stage="train", format_version=1, settings=settings, inputs={}, code={}, libraries={})


KEY = key_of(ingredients())


class Builder:
    """Fill an output folder and remember every call; ``fail`` is raised half-way."""

    def __init__(self, content: str = "weights") -> None:
        self.content = content
        self.fail: BaseException | None = None
        self.work_seen: list[list[str]] = []

    def __call__(self, output: Path, work: Path, handle: int) -> None:
        assert list(output.iterdir()) == []
        self.work_seen.append(sorted(os.listdir(work)))
        (work / f"step-{len(self.work_seen)}").write_text("")
        (output / "model").mkdir()
        (output / "model" / "weights").write_text(self.content)
        if self.fail:
            raise self.fail
        for name in ("record", "programs"):
            (output / name).mkdir()
            (output / name / "file").write_text(f"call {len(self.work_seen)}")

    @property
    def num_calls(self) -> int:
        return len(self.work_seen)


class Shelf:
    """A store with one builder and its log."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.builder = Builder()
        self.lines: list[str] = []

    def ensure(self, **options: Any) -> tuple[Artifact, bool]:
        return self.store.ensure(ingredients(), self.builder, log=self.lines.append, **options)

    @property
    def home(self) -> Path:
        return self.store.root / "train"

    @property
    def path(self) -> Path:
        return self.home / KEY

    def visible(self) -> list[str]:
        """Return what lies below the stage's folder but leases: relative names of files and empty folders.

        Folders of builds without what no two writers' have in common.
        """
        return sorted(
            re.sub(r"(\.\d+)-[0-9a-f]{8}\b", r"\1", path.relative_to(self.home).as_posix())
            for path in self.home.rglob("*")
            if ".leases" not in path.parts and (path.is_file() or not any(path.iterdir()))
        )


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow; test_durable.py has it
    return Shelf(tmp_path / "store")
