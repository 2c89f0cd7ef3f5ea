"""An independent restatement of the preprocessing of Hugging Face's run_qa.py (``prepare_train_features``).

Pairs through the tokenizer itself and loops over tokens: the oracle of the tests and the peer of
benchmarks/features.py. Only two things are settable that run_qa.py has no setting for: ``walk_past_context``
False stops its search for the start at the window's last context token, and a window that shows no context at all
(on which its loops would run off the end) is labelled as one without the answer.
"""

from __future__ import annotations

from typing import Any


def prepare(
    tokenizer: Any,
    examples: dict[str, list[Any]],
    max_length: int = 384,
    stride: int = 128,
    *,
    pad_to_max_length: bool = False,
    walk_past_context: bool = True,
) -> dict[str, list[Any]]:
    """Return the columns of run_qa.py's training features, plus ``sample``, ``offsets`` and ``sequence_ids``.

    ``examples`` has the columns question, context and answers, the last with ``text`` and ``answer_start`` each.
    """
    tokenized = tokenizer(
        [question.lstrip() for question in examples["question"]],
        examples["context"],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length" if pad_to_max_length else False,
    )
    samples = tokenized.pop("overflow_to_sample_mapping")
    mappings = tokenized.pop("offset_mapping")
    starts, ends, all_sequence_ids = [], [], []
    for window, offsets in enumerate(mappings):
        ids = tokenized["input_ids"][window]
        if tokenizer.cls_token_id in ids:
            none = ids.index(tokenizer.cls_token_id)
        elif tokenizer.bos_token_id in ids:
            none = ids.index(tokenizer.bos_token_id)
        else:
            none = 0
        sequence_ids = tokenized.sequence_ids(window)
        all_sequence_ids.append(sequence_ids)
        answers = examples["answers"][samples[window]]
        start, end = none, none
        if answers["answer_start"] and 1 in sequence_ids:
            first_char = answers["answer_start"][0]
            last_char = first_char + len(answers["text"][0])
            low = 0
            while sequence_ids[low] != 1:
                low += 1
            high = len(ids) - 1
            while sequence_ids[high] != 1:
                high -= 1
            limit = len(offsets) if walk_past_context else high + 1
            if offsets[low][0] <= first_char and offsets[high][1] >= last_char:
                while low < limit and offsets[low][0] <= first_char:
                    low += 1
                while offsets[high][1] >= last_char:
                    high -= 1
                start, end = low - 1, high + 1
        starts.append(start)
        ends.append(end)
    return dict(tokenized) | {
        "start_positions": starts,
        "end_positions": ends,
        "sample": samples,
        "offsets": mappings,
        "sequence_ids": all_sequence_ids,
    }
