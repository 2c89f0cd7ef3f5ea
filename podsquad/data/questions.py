"""One split of a dataset as the tokenize stage reads it: through the memory map, a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from podsquad.data.arrow import DATASET_SCHEMA, hash_id, read_table
from podsquad.data.windows import Integers


class QuestionTable:
    """Questions in the dataset's order, and the distinct contexts that they are about.

    ``context`` (int64, one per question) points into the contexts; ``answer_starts`` and ``answer_ends`` (int64) are
    the first answer's characters, the end one past the last, and -1 where a question has no answer.
    """

    def __init__(self, dataset: Path, split: str) -> None:
        """Open ``<dataset>/<split>.arrow``. Raises DataError when it is not a dataset's file."""
        table = read_table(dataset / f"{split}.arrow", DATASET_SCHEMA)
        self.split = split
        self._ids, self._questions = table.column("id"), table.column("question")
        # Record batches may each bring a dictionary of their own; where they share one this copies nothing.
        places = table.column("context").unify_dictionaries()
        indices = [chunk.indices.to_numpy() for chunk in places.chunks if len(chunk)]
        # A context that no question is about is left out.
        used, self.context = np.unique(np.concatenate([np.zeros(0, np.int64), *indices]), return_inverse=True)
        dictionary = places.chunk(0).dictionary if len(indices) else pa.array([], pa.string())
        self._contexts = dictionary.take(pa.array(used.astype(np.int64)))
        firsts = [_first_answers(chunk) for chunk in table.column("answers").chunks]
        self.answer_starts, self.answer_ends = (
            np.concatenate([np.zeros(0, np.int64), *(first[side] for first in firsts)]) for side in (0, 1)
        )

    def __len__(self) -> int:
        return len(self.context)

    @property
    def num_contexts(self) -> int:
        """Number of distinct contexts."""
        return len(self._contexts)

    @property
    def context_bytes(self) -> Integers:
        """Bytes of each context in UTF-8, int64."""
        sizes: Integers = pc.binary_length(self._contexts).to_numpy().astype(np.int64)
        return sizes

    def id(self, question: int) -> str:
        """Return the id of one question."""
        return str(self._ids[question].as_py())

    def id_hashes(self, part: slice) -> Integers:
        """Return ``hash_id`` of questions, uint64."""
        texts = self._ids[part].to_pylist()
        return np.fromiter(map(hash_id, texts), np.uint64, len(texts))

    def questions(self, part: slice) -> list[str]:
        """Return questions without white space on their left, as run_qa.py tokenizes them."""
        return [text.lstrip() for text in self._questions[part].to_pylist()]

    def question(self, question: int) -> str:
        """Return one question without white space on its left."""
        return str(self._questions[question].as_py()).lstrip()

    def contexts(self, part: slice) -> list[str]:
        """Return contexts by their own numbering."""
        texts: list[str] = self._contexts[part].to_pylist()
        return texts

    def context_of(self, question: int) -> str:
        """Return the context that one question is about."""
        return str(self._contexts[int(self.context[question])].as_py())

    def texts(self, step: int = 1024) -> Iterator[str]:
        """Yield every context once, then every question."""
        for first in range(0, self.num_contexts, step):
            yield from self.contexts(slice(first, first + step))
        for first in range(0, len(self), step):
            yield from self.questions(slice(first, first + step))


def _first_answers(answers: pa.ListArray) -> tuple[Integers, Integers]:
    """Return each row's first answer as its first character and one past its last; -1 for a row without one."""
    offsets = answers.offsets.to_numpy().astype(np.int64)
    asked = np.flatnonzero(np.diff(offsets))
    first = answers.values.take(pa.array(offsets[asked]))
    starts, ends = np.full(len(answers), -1), np.full(len(answers), -1)
    starts[asked] = first.field("answer_start").to_numpy()
    ends[asked] = starts[asked] + pc.utf8_length(first.field("text")).to_numpy()
    return starts, ends
