"""A genuine model's way to the Hub and back: it answers from the downloaded bytes, and plain transformers loads it."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, RobertaConfig, RobertaForQuestionAnswering

from podsquad.data.tokenizer import train_tokenizer
from podsquad.question import Answer, answer_question
from tests.publishing.hub_place import Place, make_model

CONTEXT = "Ada Lovelace was born in London in 1815. She wrote the first program for Babbage's engine."
QUESTION = "Where was Ada born?"


def make_encoder(folder: Path) -> dict[str, Path]:
    tokenizer = train_tokenizer(iter([CONTEXT] * 4), 400)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=66,
        type_vocab_size=1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    torch.manual_seed(3)
    RobertaForQuestionAnswering(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {path.name: path for path in folder.iterdir()}


def test_it_answers_from_the_downloaded_bytes_as_from_the_store(place: Place) -> None:
    model = make_model(place.folder, 1)
    files = model.files | make_encoder(place.folder / "encoder")
    answers: list[Answer] = []
    target = place.target()
    publication = target.publish(
        model.key, files, lambda folder: answers.append(answer_question(folder, QUESTION, CONTEXT))
    )
    assert answers == [answer_question(place.folder / "encoder", QUESTION, CONTEXT)]
    target.fetch(publication.tag, place.folder / "fetched")
    loaded = AutoModelForQuestionAnswering.from_pretrained(place.folder / "fetched", local_files_only=True)
    assert type(loaded).__name__ == "RobertaForQuestionAnswering"
