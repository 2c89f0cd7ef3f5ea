"""Logits to answers: podsquad's vectorised search against the loops of Hugging Face's run_qa.py.

    python -m benchmarks.answers

Made-up windows in the lengths of SQuAD's validation set (as many questions, about as many windows) with
logits that peak, as a trained model's do: the peer's time grows with the spans that are valid. Both run in
one process, turn by turn; medians. The peer is the restatement in tests/evaluation/run_qa_peer_answers.py, on
unpadded rows and plain lists: leaner than run_qa.py itself, which also reads its offsets out of a data set.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.timing import RESULTS, compare, write_result
from podsquad.evaluation.answers import Answers, find_answers
from tests.evaluation.run_qa_peer_answers import search_spans
from tests.evaluation.windows import make_logits, make_windows

NUM_QUESTIONS = 10_570
NUM_BEST, MAX_ANSWER_TOKENS = 20, 30
RESULT = RESULTS / "answers.json"


def main() -> None:
    """Run, compare the answers, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=NUM_QUESTIONS)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    windows, contexts = make_windows(options.questions, seed=1984)
    starts = make_logits(windows, 1, peaks=True)
    ends = make_logits(windows, 2, peaks=True, like=starts)
    edges = windows.input_ids.offsets[1:-1]
    start_rows, end_rows = np.split(starts, edges), np.split(ends, edges)
    offset_mappings = windows.offset_mappings()
    windows_of_question = windows.windows_of_question(options.questions)

    def peer() -> list[str]:
        best = search_spans(
            contexts, windows_of_question, start_rows, end_rows, offset_mappings, NUM_BEST, MAX_ANSWER_TOKENS
        )
        return [one[0]["text"] for one in best]

    def ours() -> Answers:
        return find_answers(windows, contexts, starts, ends, num_best=NUM_BEST, max_answer_tokens=MAX_ANSWER_TOKENS)

    same = sum(mine == theirs for mine, theirs in zip(ours().texts, peer(), strict=True))
    times = compare({"run_qa_restated": peer, "podsquad": ours}, options.rounds)
    write_result(
        RESULT,
        times,
        {
            "questions": options.questions,
            "windows": len(windows),
            "tokens": len(starts),
            "num_best": NUM_BEST,
            "max_answer_tokens": MAX_ANSWER_TOKENS,
            "identical_answers": same,
        },
        libraries=("numpy",),
    )


if __name__ == "__main__":
    main()
