"""What every runtime asks of the model that a training begins with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podsquad.errors import InputMissingError, SettingsError
from podsquad.runtimes.base_model import check_fit, first_position, locate_base, refuse_other_weights

LAYOUT = {"vocab_size": 100, "max_length": 64, "uses_token_types": False}
KNOWN = (SimpleNamespace,)


def config(model_type: str, positions: int | None = 64, vocabulary: int = 100) -> Any:
    sizes = {} if positions is None else {"max_position_embeddings": positions}
    return SimpleNamespace(model_type=model_type, pad_token_id=1, vocab_size=vocabulary, **sizes)


@pytest.mark.parametrize(("kind", "first"), [("roberta", 2), ("camembert", 2), ("xlm-roberta", 2), ("bert", 0)])
def test_positions_are_counted_as_the_encoder_does(kind: str, first: int) -> None:
    assert first_position(config(kind)) == first
    check_fit(config(kind, positions=64 + first), LAYOUT, "base", KNOWN)
    with pytest.raises(SettingsError, match="reads at most 63 tokens"):
        check_fit(config(kind, positions=63 + first), LAYOUT, "base", KNOWN)


def test_an_encoder_without_positions_reads_any_length() -> None:
    check_fit(config("modernbert", positions=None), LAYOUT, "base", KNOWN)


def test_a_small_vocabulary_does_not_fit() -> None:
    with pytest.raises(SettingsError, match="knows 99 tokens, but the features' tokenizer makes 100"):
        check_fit(config("bert", vocabulary=99), LAYOUT, "base", KNOWN)


def test_a_model_that_answers_no_questions_is_told_by_its_kind() -> None:
    with pytest.raises(SettingsError, match="is of the kind pegasus, which answers no questions about texts"):
        check_fit(config("pegasus"), LAYOUT, "base", ())
    image = SimpleNamespace(model_type="vit")
    with pytest.raises(SettingsError, match="is of the kind vit, which"):
        check_fit(image, LAYOUT, "base", KNOWN)


def test_only_the_head_and_a_counter_may_be_missing() -> None:
    refuse_other_weights(["qa_outputs.weight", "bert.embeddings.position_ids"], "bert", "base")
    with pytest.raises(SettingsError, match=r"no weights for bert\.a, bert\.b, bert\.c and 1 more"):
        refuse_other_weights([f"bert.{name}" for name in "dcba"], "bert", "base")


def test_a_base_is_a_folder_or_a_name_of_the_hub(tmp_path: Path) -> None:
    assert locate_base({"base": str(tmp_path)})[1]["local_files_only"] is True
    assert locate_base({"base": "owner/name", "revision": "abc"})[1]["revision"] == "abc"
    with pytest.raises(InputMissingError, match="which is no folder"):
        locate_base({"base": str(tmp_path / "gone")})
