"""An independent restatement of SQuAD's official evaluate-v1.1 program: the oracle of the metric's tests."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence


def normalize(text: str) -> str:
    """Lower case, then punctuation, articles and white space, in the official order."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact(prediction: str, truth: str) -> float:
    """1 where both are equal after normalisation."""
    return float(normalize(prediction) == normalize(truth))


def f1(prediction: str, truth: str) -> float:
    """Harmonic mean of precision and recall over words."""
    predicted, true = normalize(prediction).split(), normalize(truth).split()
    same = sum((Counter(predicted) & Counter(true)).values())
    if same == 0:
        return 0.0
    precision, recall = 1.0 * same / len(predicted), 1.0 * same / len(true)
    return (2 * precision * recall) / (precision + recall)


def evaluate(predictions: Sequence[str | None], annotations: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Exact match and F1 in percent; None is an unanswered question."""
    exact_sum, f1_sum = 0.0, 0.0
    for prediction, truths in zip(predictions, annotations, strict=True):
        if prediction is not None:
            exact_sum += max(exact(prediction, truth) for truth in truths)
            f1_sum += max(f1(prediction, truth) for truth in truths)
    return 100.0 * exact_sum / len(predictions), 100.0 * f1_sum / len(predictions)
