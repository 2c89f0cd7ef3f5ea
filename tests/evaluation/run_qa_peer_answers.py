"""An independent restatement of the span search of Hugging Face's run_qa.py (postprocess_qa_predictions).

Written from its described behaviour for SQuAD v1.1 (no null answers), loops and all: the oracle of the tests
and the peer of benchmarks/answers.py. ``stable=True`` sorts equal logits in a defined order; the original
does not.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np


def search_spans(
    contexts: list[str],
    windows_of_question: list[list[int]],
    start_logits: list[np.ndarray],
    end_logits: list[np.ndarray],
    offset_mappings: list[list[tuple[int, int] | None]],
    num_best: int = 20,
    max_answer_tokens: int = 30,
    *,
    stable: bool = False,
) -> list[list[dict[str, Any]]]:
    """Return every question's n-best list: dicts with text, score, offsets and probability, best first."""
    kind: Literal["stable"] | None = "stable" if stable else None
    answers = []
    for context, windows in zip(contexts, windows_of_question, strict=True):
        found: list[dict[str, Any]] = []
        for window in windows:
            starts, ends, offsets = start_logits[window], end_logits[window], offset_mappings[window]
            top_starts = np.argsort(starts, kind=kind)[-1 : -num_best - 1 : -1].tolist()
            top_ends = np.argsort(ends, kind=kind)[-1 : -num_best - 1 : -1].tolist()
            for start in top_starts:
                for end in top_ends:
                    outside = start >= len(offsets) or end >= len(offsets)
                    if outside or offsets[start] is None or offsets[end] is None:
                        continue
                    if end < start or end - start + 1 > max_answer_tokens:
                        continue
                    found.append(
                        {
                            "offsets": (offsets[start][0], offsets[end][1]),
                            "score": starts[start] + ends[end],
                        }
                    )
        best = sorted(found, key=lambda one: one["score"], reverse=True)[:num_best]
        for one in best:
            one["text"] = context[one["offsets"][0] : one["offsets"][1]]
        if not best or (len(best) == 1 and best[0]["text"] == ""):
            best.insert(0, {"text": "empty", "score": 0.0, "offsets": None})
        scores = np.array([one["score"] for one in best])
        weights = np.exp(scores - np.max(scores))
        for one, probability in zip(best, weights / weights.sum(), strict=True):
            one["probability"] = float(probability)
        answers.append(best)
    return answers
