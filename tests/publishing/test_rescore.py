"""A champion scored again: by the one way in which an evaluation scores, on features that it can read."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from podsquad.config.data_settings import DataSettings, FeatureSettings
from podsquad.config.load import load_settings
from podsquad.data.arrow import Features, read_layout
from podsquad.data.dataset import build_dataset
from podsquad.data.demo import ENCODER_FOLDER
from podsquad.data.features import build_features
from podsquad.errors import DataError
from podsquad.evaluation.report import read_metrics
from podsquad.evaluation.scored import read_scored_questions
from podsquad.evaluation.scoring import SPLIT
from podsquad.publishing.rescore import features_for, score_again
from podsquad.stages.resolved import tokenizer_settings
from tests.evaluation.small_inputs import SETTINGS, make_inputs

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def test_equal_logits_are_scored_as_the_evaluate_stage_scored_them(tmp_path: Path) -> None:
    evaluation = make_inputs(tmp_path).build()
    again = score_again(SETTINGS, *(tmp_path / name for name in ("dataset", "features", "logits")))
    assert dict(again.metrics) == read_metrics(evaluation)
    written = read_scored_questions(evaluation)
    assert (again.questions.ids, again.questions.articles) == (written.ids, written.articles)
    assert again.questions.slices == written.slices
    assert np.array_equal(again.questions.f1, written.f1)
    assert 0.0 < written.f1.mean() < 1.0


@dataclass
class Night:
    """A dataset with the challenger's features, and a champion's folder."""

    folder: Path
    settings: FeatureSettings
    lines: list[str]

    def features_for(self) -> Path:
        names = ("champion", "challenger", "features", "dataset")
        champion, challenger, features, dataset = (self.folder / name for name in names)
        made = self.folder / "made"
        return features_for(champion, challenger, features, dataset, self.settings, made, log=self.lines.append)


@pytest.fixture
def night(tmp_path: Path) -> Night:
    for name in ("dataset", "features", "champion", "challenger"):
        (tmp_path / name).mkdir()
    questions = DataSettings(demo_train_questions=10, demo_validation_questions=10)
    build_dataset(questions, tmp_path / "dataset", log=lambda line: None)
    short = {"features.max_length": "64", "features.stride": "16"}
    settings = tokenizer_settings(load_settings("demo", short).settings)
    build_features(settings, tmp_path / "dataset", tmp_path / "features")
    for name in ("champion", "challenger"):
        shutil.copy(tmp_path / "features/layout.json", tmp_path / name)
        for file in TOKENIZER_FILES:
            shutil.copy(ENCODER_FOLDER / file, tmp_path / name)
    return Night(tmp_path, settings, [])


def test_a_champion_with_this_tokenizer_and_these_windows_reads_the_challenger_s_features(night: Night) -> None:
    assert night.features_for() == night.folder / "features"
    assert not (night.folder / "made").exists()


@pytest.mark.parametrize("differs", ["windows", "tokenizer"])
def test_another_champion_gets_features_that_it_was_published_to_read(night: Night, differs: str) -> None:
    layout, tokenizer = night.folder / "champion/layout.json", night.folder / "champion/tokenizer.json"
    if differs == "windows":
        layout.write_text(json.dumps(json.loads(layout.read_text()) | {"max_length": 48, "stride": 8}))
    else:
        told = json.loads(tokenizer.read_text())
        told["model"]["merges"] = told["model"]["merges"][:100]  # longer sequences of the same bytes
        tokenizer.write_text(json.dumps(told))
    (night.folder / "made").mkdir()
    (night.folder / "made/of-a-killed-run").write_text("x")
    assert night.features_for() == night.folder / "made"
    assert any("features are made for it" in line for line in night.lines)
    assert not (night.folder / "made/of-a-killed-run").exists()
    made, ours = (Features(night.folder / name, SPLIT) for name in ("made", "features"))
    assert read_layout(night.folder / "made")["max_length"] == (48 if differs == "windows" else 64)
    assert set(made.question_index.tolist()) == set(ours.question_index.tolist())
    assert made.input_ids.flat.tolist() != ours.input_ids.flat.tolist()
    assert made.input_ids.lengths.max() <= (48 if differs == "windows" else 64)


def test_a_champion_whose_windows_cannot_be_told_is_refused(night: Night) -> None:
    (night.folder / "champion/layout.json").write_text("{}")
    with pytest.raises(DataError, match=r"layout\.json"):
        night.features_for()
