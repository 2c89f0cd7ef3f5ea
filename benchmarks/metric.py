"""The SQuAD metric: podsquad's against torchmetrics and a restatement of the official program.

    python -m benchmarks.metric

Real annotations from ../shared/data/squad where they are, the demo world's otherwise; predictions are
annotations, cut, lengthened or taken from another question. All run in one process, turn by turn; medians.
podsquad's memo is emptied before each round.

torchmetrics adds up in float32, which shows from the sixth digit on; the official program and podsquad in float64.
``torchmetrics_in_float64`` are torchmetrics' own scores of each question, added up in float64: exact match is the same
to the last digit, F1 to the eighth, as each question's is a float32.
"""

from __future__ import annotations

import argparse
import importlib
import random
from typing import Any

from benchmarks.real_text import SQUAD, is_there
from benchmarks.timing import RESULTS, compare, write_result
from podsquad.data.demo.world import make_demo_world
from podsquad.data.squad import iterate_squad, parse_squad
from podsquad.evaluation.squad_metric import score_answers, split_words
from tests.evaluation.official_squad_metric import evaluate

NUM_QUESTIONS = 10_570
RESULT = RESULTS / "metric.json"


def main() -> None:
    """Run, compare the scores, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    from torchmetrics.text import SQuAD

    annotations, source = _annotations()
    predictions = _predictions(annotations)
    guesses = [{"id": str(number), "prediction_text": text} for number, text in enumerate(predictions)]
    truths: list[Any] = [
        {"id": str(number), "answers": {"text": texts, "answer_start": [0] * len(texts)}}
        for number, texts in enumerate(annotations)
    ]

    def with_torchmetrics() -> tuple[float, float]:
        metric = SQuAD()
        metric.update(guesses, truths)
        scores = metric.compute()
        return scores["exact_match"].item(), scores["f1"].item()

    def official() -> tuple[float, float]:
        return evaluate(predictions, annotations)

    def ours() -> tuple[float, float]:
        split_words.cache_clear()
        scores = score_answers(predictions, annotations)
        return scores.exact_match, scores.f1

    theirs, true, mine = with_torchmetrics(), official(), ours()
    times = compare(
        {"torchmetrics": with_torchmetrics, "official_restated": official, "podsquad": ours}, options.rounds
    )
    write_result(
        RESULT,
        times,
        {
            "questions": len(annotations),
            "annotations": sum(map(len, annotations)),
            "source": source,
            "podsquad": list(mine),
            "official_restated": list(true),
            "torchmetrics": list(theirs),
            "torchmetrics_in_float64": list(_in_float64(predictions, annotations)),
            "equal_to_official": mine == true,
        },
        libraries=("torch", "torchmetrics"),
    )


def _in_float64(predictions: list[str], annotations: list[list[str]]) -> tuple[float, float]:
    """Return exact match and F1 by torchmetrics' own functions for a question."""
    module = importlib.import_module("torchmetrics.functional.text.squad")
    best, count = module._metric_max_over_ground_truths, len(annotations)
    exact, f1 = (
        sum(float(best(score, text, truths)) for text, truths in zip(predictions, annotations, strict=True))
        for score in (module._compute_exact_match_score, module._compute_f1_score)
    )
    return 100 * exact / count, 100 * f1 / count


def _annotations() -> tuple[list[list[str]], str]:
    if is_there():
        parts = [parse_squad((SQUAD / name).read_bytes()) for name in ("train.json", "dev.json")]
        records, source = [record for part in parts for record in part], "SQuAD (shared/data/squad)"
    else:
        records, source = list(iterate_squad(make_demo_world(1984, 10, 3000).validation)), "demo world"
    annotations: list[list[str]] = []
    # Over and over, with a word more each time: what podsquad remembers of a text shall not help with the next.
    for time in range(-(-NUM_QUESTIONS // len(records))):
        more = f"{time} " if time else ""
        annotations += [[more + answer.text for answer in record.answers] for record in records]
    return annotations[:NUM_QUESTIONS], f"{source}, {len(records)} questions, again with a word more each time"


def _predictions(annotations: list[list[str]]) -> list[str]:
    draw = random.Random(1984)
    predictions = []
    for texts in annotations:
        text = draw.choice(texts)
        kind = draw.random()
        if kind > 0.9:
            text = draw.choice(draw.choice(annotations))
        elif kind > 0.8:
            text = " ".join(text.split()[:2])
        elif kind > 0.7:
            text = f"in the {text}, as"
        predictions.append(text)
    return predictions


if __name__ == "__main__":
    main()
