"""Pretrain the demo's small encoder by recurring-span selection, and write it with its tokenizer to a folder.

    python scripts/pretrain_demo_encoder.py

Self-supervised, after Splinter (Ram et al. 2021, "Few-Shot Question Answering by Pretraining Span Selection"): a
passage tells its facts, a sentence tells one of them again in other words, the last rare run of words of that
sentence is masked, and the model points at the same words in the passage. From half its depth it also spots where
the sentence's other rare words stand in the passage. No question and no answer is seen by the model, and no name of
the training or the validation set. Both heads are thrown away; the demo learns its own.

Models of this size first tell people from years and only then ask whom a fact is of. With spotting and with heads that
look back from the start (``prepare``) the second begins after some 350 steps; with spotting alone after 850; with
neither it had not begun after 800, nor with heads that look back alone after 600.

Same seed, machine, versions and number of threads: same weights. Other machines differ in the last bits.
"""

from __future__ import annotations

import argparse
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import RobertaConfig, RobertaForQuestionAnswering

from podsquad.data.demo import ENCODER_FOLDER
from podsquad.data.demo.world import Sizes, list_questions, make_retellings
from podsquad.data.tokenizer import SPECIAL_TOKENS, train_tokenizer

SEED = 1861
NUM_STEPS = 6000
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
PASSAGES_PER_PART = 2000
VOCAB_SIZE = 1000  # small, so that unseen names split into syllables that were seen
BOS, PAD, EOS, _, MASK = range(len(SPECIAL_TOKENS))
MAX_TOKENS = 254  # RoBERTa counts positions from 2
RARE_SHARE = 0.01  # a word in fewer sentences than this is a name, a number or goods, and worth masking
INITIALIZER_RANGE = 0.05
QUERY_RANGE = 0.1
SPOTTED_WEIGHT = 4.0  # about one token in twenty is to be spotted

# How many tokens back each head of a layer looks at first; 0: at its like, wherever that stands.
HEADS_LOOK_BACK = (0, 1, 4, 10)

# Until which share of the steps the passages are of which sizes (entities, relations). Whom a sentence is about is
# found in some hundred batches of the shortest passages; in long ones the signal drowns.
CURRICULUM: tuple[tuple[float, Sizes], ...] = (
    (0.2, ((2, 1),)),
    (0.5, ((2, 1), (2, 2), (3, 1), (3, 2))),
    (1.0, ((2, 2), (2, 4), (3, 3))),
)


@dataclass(frozen=True)
class Example:
    """``<s> sentence with a mask </s></s> passage </s>``, and which of its tokens are to be found.

    ``starts`` and ``ends``: first and last tokens of the masked words in the passage. ``spotted``: passage tokens of
    the sentence's other rare words.
    """

    input_ids: list[int]
    starts: list[int]
    ends: list[int]
    spotted: list[int]


def rare_words(sentences: list[str]) -> frozenset[str]:
    """Return the words that stand in fewer than RARE_SHARE of the sentences."""
    counts = Counter(word for sentence in sentences for word in set(sentence.rstrip(".").split()))
    return frozenset(word for word, count in counts.items() if count < RARE_SHARE * len(sentences))


def recurring_spans(sentence: str, context: str, rare: frozenset[str]) -> list[str]:
    """Return the longest runs of rare words of ``sentence`` that ``context`` holds too, in the sentence's order."""
    runs: list[list[str]] = [[]]
    for word in sentence.rstrip(".").split():
        if word in rare:
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    return [span for run in runs if run and (span := " ".join(run)) in context]


def find_all(text: str, words: str) -> list[int]:
    """Return where ``words`` stand in ``text``, whole: 64 is not in 464."""
    return [match.start() for match in re.finditer(rf"\b{re.escape(words)}\b", text)]


def make_example(sentence: str, context: str, tokenizer: Any, rare: frozenset[str]) -> Example | None:
    """Mask the last recurring span of ``sentence``; None where there is none, or no whole tokens hold it."""
    spans = recurring_spans(sentence, context, rare)
    if not spans:
        return None
    *others, masked = spans
    # With a space in front, as in the passage: a name must have the same tokens in both.
    before, after = (" " + sentence).rsplit(masked, 1)
    encoding, *around = (tokenizer.encode(text, add_special_tokens=False) for text in (context, before.rstrip(), after))
    ids = [BOS, *around[0].ids, MASK, *around[1].ids, EOS, EOS]
    tokens = list(enumerate(encoding.offsets, start=len(ids)))
    # A token holds the space before its word, whether or not its offsets do; a space may also be a token of its own.
    first_at = {start + (context[start] == " "): token for token, (start, _) in reversed(tokens)}
    last_at = {end: token for token, (_, end) in tokens}
    starts, ends = [], []
    for at in find_all(context, masked):
        if at in first_at and at + len(masked) in last_at:
            starts.append(first_at[at])
            ends.append(last_at[at + len(masked)])
    spotted = [
        token
        for other in others
        for at in find_all(context, other)
        for token, (start, end) in tokens
        if start < at + len(other) and end > at
    ]
    ids += [*encoding.ids, EOS]
    return Example(ids, starts, ends, spotted) if starts and len(ids) <= MAX_TOKENS else None


def make_examples(seed: int, tokenizer: Any, sizes: Sizes) -> list[Example]:
    """Return an example of each retold sentence of PASSAGES_PER_PART passages."""
    told = make_retellings(seed, PASSAGES_PER_PART, sizes)
    rare = rare_words([sentence for _, sentences in told for sentence in sentences])
    made = [make_example(sentence, context, tokenizer, rare) for context, sentences in told for sentence in sentences]
    return [example for example in made if example]


def look_back(keys: torch.Tensor, back: int) -> torch.Tensor:
    """Turn ``keys`` (head width, width) so that the key at a position meets the query of ``back`` positions later.

    With positions P(t) = [sin wt, cos wt] the new row k' has k' . P(t) = k . P(t + back).
    """
    width = keys.shape[1]
    angles = back * frequencies(width)
    of_sin, of_cos = keys[:, : width // 2], keys[:, width // 2 :]
    return torch.cat(
        [of_sin * angles.cos() - of_cos * angles.sin(), of_sin * angles.sin() + of_cos * angles.cos()], dim=1
    )


def frequencies(width: int) -> torch.Tensor:
    """Return the angle per position of each pair of dimensions (Vaswani et al. 2017)."""
    return 10000 ** (-torch.arange(0, width, 2) / width)


@torch.no_grad()
def prepare(model: RobertaForQuestionAnswering) -> None:
    """Start the model where it already sees places and likeness, which it is slow to find by itself.

    Positions start as sinusoids, so that "four tokens before" is a rotation. Keys start equal to queries (after
    Trockman and Kolter 2023, "Mimetic Initialization of Self-Attention Layers"), so that a token looks at its like,
    and are turned by HEADS_LOOK_BACK. All are weights like all others and are trained on.
    """
    width, num_heads = model.config.hidden_size, model.config.num_attention_heads
    table = model.roberta.embeddings.position_embeddings.weight
    angles = torch.arange(len(table))[:, None] * frequencies(width)
    table.copy_(torch.cat([angles.sin(), angles.cos()], dim=1) * INITIALIZER_RANGE)
    for layer in model.roberta.encoder.layer:
        attention = layer.attention.self
        attention.query.weight.normal_(0, QUERY_RANGE)
        heads = attention.query.weight.view(num_heads, -1, width)
        turned = [look_back(keys, back) for keys, back in zip(heads, HEADS_LOOK_BACK, strict=True)]
        attention.key.weight.copy_(torch.cat(turned))


def span_loss(logits: torch.Tensor, targets: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``-log P(any of the targets)``; all are (batch, tokens), the masks boolean."""
    lowest = torch.finfo(logits.dtype).min
    logits = logits.masked_fill(~own, lowest)
    return (logits.logsumexp(1) - logits.masked_fill(~targets, lowest).logsumexp(1)).mean()


def losses_of(model: RobertaForQuestionAnswering, spotter: torch.nn.Linear, batch: Sequence[Example]) -> Any:
    """Return the losses of selecting and of spotting."""
    longest = max(len(example.input_ids) for example in batch)
    ids = torch.full((len(batch), longest), PAD)
    starts, ends, spotted = torch.zeros(3, len(batch), longest, dtype=torch.bool)
    for row, example in enumerate(batch):
        ids[row, : len(example.input_ids)] = torch.tensor(example.input_ids)
        starts[row, example.starts] = True
        ends[row, example.ends] = True
        spotted[row, example.spotted] = True
    own = ids != PAD
    output = model(input_ids=ids, attention_mask=own.long(), output_hidden_states=True)
    selecting = (span_loss(output.start_logits, starts, own) + span_loss(output.end_logits, ends, own)) / 2
    halfway = output.hidden_states[model.config.num_hidden_layers // 2]
    spotting = binary_cross_entropy_with_logits(
        spotter(halfway).squeeze(2)[own], spotted[own].float(), pos_weight=torch.tensor(SPOTTED_WEIGHT)
    )
    return selecting, spotting


def batches(seed: int, num_steps: int, tokenizer: Any) -> Iterator[list[Example]]:
    """Yield ``num_steps`` batches of examples of like length, in random order; no passage comes twice."""
    random = np.random.default_rng(seed)
    step, part = 0, 0
    while True:
        part += 1  # each part is a new world
        sizes = next(sizes for until, sizes in CURRICULUM if step < until * num_steps)
        examples = make_examples(seed + part, tokenizer, sizes)
        order = sorted(random.permutation(len(examples)), key=lambda row: len(examples[row].input_ids) // 8)
        groups = [order[first : first + BATCH_SIZE] for first in range(0, len(order), BATCH_SIZE)]
        for group in random.permutation(len(groups)):
            yield [examples[row] for row in groups[group]]
            step += 1
            if step == num_steps:
                return


def pretrain(seed: int, num_steps: int, folder: Path) -> None:
    """Train tokenizer and encoder and write them."""
    started = time.monotonic()
    torch.manual_seed(seed)
    told = make_retellings(seed, PASSAGES_PER_PART)
    texts = [text for context, sentences in told for text in (context, *sentences)] + list_questions(seed, 6000)
    tokenizer = train_tokenizer(iter(texts), VOCAB_SIZE)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=len(HEADS_LOOK_BACK),
        intermediate_size=512,
        hidden_dropout_prob=0.0,  # the text never repeats, so there is nothing to overfit
        attention_probs_dropout_prob=0.0,
        initializer_range=INITIALIZER_RANGE,
    )
    model = RobertaForQuestionAnswering(config)
    prepare(model)
    spotter = torch.nn.Linear(config.hidden_size, 1)
    optimizer = torch.optim.AdamW([*model.parameters(), *spotter.parameters()], lr=LEARNING_RATE, weight_decay=0.01)
    warm_up = max(1, num_steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, (num_steps - step) / (num_steps - warm_up))
    )
    recent: list[tuple[float, float]] = []
    for step, batch in enumerate(batches(seed, num_steps, tokenizer.backend_tokenizer), start=1):
        selecting, spotting = losses_of(model, spotter, batch)
        (selecting + spotting).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        recent = [*recent[-99:], (selecting.item(), spotting.item())]
        if step % 100 == 0:
            chosen, spotted = np.mean(recent, axis=0)
            cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            seconds = time.monotonic() - started
            print(
                f"step {step}: loss {chosen:.3f}, spotting {spotted:.3f}, {seconds:.0f} s, {cpu:.0f} CPU s", flush=True
            )
    folder.mkdir(parents=True, exist_ok=True)
    # Half precision halves what a clone must carry; the encoder alone, for the demo learns a head of its own.
    model.roberta.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ENCODER_FOLDER)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--num-steps", type=int, default=NUM_STEPS)
    parser.add_argument("--threads", type=int, default=1, help="more are faster on an idle machine")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(arguments.seed, arguments.num_steps, arguments.folder)
