"""The smoke question: can the files of a version be loaded, and do they answer?

Asked in a process of its own, ``python -m podsquad.publishing.smoke FOLDER``: loading a model takes memory, and may
take a process with it. Its standard input holds question and context as JSON, its standard
output the answer or the error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podsquad.data.dataset import read_questions
from podsquad.errors import TOKEN_VARIABLES, DataError, PodsquadError, TemporaryError, error_named
from podsquad.evaluation.scored import QUESTIONS_FILE
from podsquad.evaluation.scoring import SPLIT
from podsquad.evaluation.squad_metric import score_answer
from podsquad.store.durable import parse_lines

_SECONDS = 1800.0
_SURE = 0.5  # no rounding of another device or precision turns an answer of this probability into another


@dataclass(frozen=True)
class SmokeQuestion:
    """A question of the evaluation, and what the model answered to it there."""

    question: str
    context: str
    expected: str | None
    """What the model answered when it was scored; None: it is not known."""
    probability: float
    """How sure it was of that."""
    log: Callable[[str], None]

    def __call__(self, folder: Path) -> None:
        """Ask the model in that folder.

        Another machine may answer in other words where the model is in doubt: then the log says so. Raises DataError
        when there is no answer, or none of the words of one that the model was sure of; and what loading it raises.
        """
        if importlib.util.find_spec("torch") is None:
            _open_weights(folder)
            self.log(f"the weights in {folder.name} can be opened; without torch in {sys.executable} nothing was asked")
            return
        answer = _ask(folder, {"question": self.question, "context": self.context})
        if not answer:
            raise DataError(
                "the published files do not answer the smoke question",
                why=f"to {self.question!r} the model found no answer at all"
                + ("" if self.expected is None else f", and {self.expected!r} when it was scored"),
                do="run again with --refresh train",
            )
        if self.expected is None:
            told = ""
        elif answer == self.expected:
            told = ", as when they were scored"
        else:
            told = f", and when they were scored with {self.expected!r} (probability {self.probability:.3f})"
            if self.probability >= _SURE and score_answer(answer, [self.expected]) == (False, 0.0):
                raise DataError(
                    f"the published files answer {self.question!r} with {answer!r}{told}",
                    why="weights, config and tokenizer do not belong together, or transformers reads them here in "
                    "another way than the runtime that scored them",
                    do="compare the versions in the card with this environment's, or run again with --refresh train",
                )
        self.log(f"the published files answer {self.question!r} with {answer!r}{told}")


def smoke_question(dataset: Path, evaluation: Path, log: Callable[[str], None]) -> SmokeQuestion:
    """Return the question to ask: that whose answer the model was surest of. Raises DataError."""
    questions = read_questions(dataset, SPLIT)
    path = evaluation / QUESTIONS_FILE
    try:
        rows = parse_lines(path.read_bytes())
        surest = max(rows, key=lambda row: (row["probability"], row["id"]))
        place = questions.ids.index(surest["id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read {path}: {error!r}",
            why="the evaluation does not tell its answers, or belongs to another dataset",
            do="run again with --refresh evaluate",
        ) from error
    return SmokeQuestion(
        questions.questions[place], questions.contexts[place], surest["prediction"], surest["probability"], log
    )


def any_question(log: Callable[[str], None]) -> SmokeQuestion:
    """Return a question for a version whose evaluation is not at hand."""
    return SmokeQuestion(
        "Who wrote the first program?", "Ada Lovelace wrote the first program in 1843.", None, 0.0, log
    )


def _ask(folder: Path, asked: Mapping[str, str]) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in TOKEN_VARIABLES} | {
        "HF_HUB_OFFLINE": "1"
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "podsquad.publishing.smoke", str(folder)],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=environ,
            timeout=_SECONDS,
            check=False,
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise TemporaryError(
            f"the smoke question was not answered within {_SECONDS:g} seconds",
            why="this machine is busy, or its memory is used up",
            do="run the same command again",
        ) from None
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise TemporaryError(
            f"the process that asks the smoke question ended with {done.returncode}: {last}",
            why="it was killed, or ran out of memory",
            do="run the same command again",
        ) from None
    if "error" in told:
        raise error_named(told["error"])(told["what"], why=told["why"], do=told["do"])
    return str(told["answer"])


def _open_weights(folder: Path) -> None:
    """Check that each file of weights is as long as its own header says."""
    weights = sorted(folder.glob("*.safetensors"))
    for path in weights:
        try:
            with path.open("rb") as file:
                header_bytes = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(header_bytes, path.stat().st_size)))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
            is_whole = path.stat().st_size == 8 + header_bytes + end
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            is_whole = False
        if not is_whole:
            raise DataError(
                f"the weights {path.name} cannot be opened",
                why="the file is not as long as its own header says",
                do="run again with --refresh train",
            )
    if not weights:
        raise DataError(
            "there are no weights among the published files",
            why="the training's artifact lacks what every training writes",
            do="run again with --refresh train",
        )


def main() -> None:
    """Answer the question on standard input from the model in the folder that is named."""
    from podsquad.question import answer_question

    asked = json.load(sys.stdin)
    try:
        told = {"answer": answer_question(Path(sys.argv[1]), asked["question"], asked["context"]).text}
    except PodsquadError as error:
        told = {"error": type(error).__name__, "what": error.what, "why": error.why, "do": error.do}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
