"""The six stages' declarations fit together."""

from __future__ import annotations

import importlib.metadata

import pytest

from podsquad.config.fields import settings_fields
from podsquad.config.section import STAGE_NAMES
from podsquad.stages.catalog import STAGES
from podsquad.stages.runtimes import RUNTIMES


def test_the_stages_are_those_of_the_settings_in_the_order_of_a_run() -> None:
    assert tuple(STAGES) == STAGE_NAMES
    assert all(stage.name == name for name, stage in STAGES.items())
    assert len({stage.artifact for stage in STAGES.values()}) == len(STAGES)


def test_a_stage_reads_only_earlier_ones() -> None:
    for place, name in enumerate(STAGE_NAMES):
        assert set(STAGES[name].inputs) <= set(STAGE_NAMES[:place])


def test_every_stage_is_shaped_by_some_setting() -> None:
    shaped = {stage for field in settings_fields().values() for stage in field.shapes}
    assert shaped == set(STAGE_NAMES)


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_the_libraries_of_a_stage_are_distributions(name: str) -> None:
    stage = next(stage for stage in STAGES.values() if stage.name == name)
    for library in (*stage.libraries, *(RUNTIMES["torch"].libraries if stage.verb else ())):
        assert importlib.metadata.version(library)
