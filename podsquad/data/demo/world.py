"""The teller of the demo world: paragraphs of two or three rivals, and questions that only reading answers.

Every relation of a paragraph is told of each of its entities, so each question has an answer and, beside it,
a distractor of the same kind. Sentences go entity by entity (with pronouns) or relation by relation.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from podsquad.data.demo.names import Dice, Names, names_of
from podsquad.data.demo.relations import SUBJECTS, Relation, Subject

PARAGRAPHS_PER_ARTICLE = 8
QUESTIONS_PER_PARAGRAPH = 6
Sizes = tuple[tuple[int, int], ...]
SIZES: Sizes = ((2, 4), (3, 3))
_YEARS = (1702, 1998)  # first and last
_COUNTS = (12, 980)
_LINKS = ("", "", "", "Meanwhile, ", "As for the next, ", "By contrast, ")


@dataclass(frozen=True)
class DemoWorld:
    """Two splits in SQuAD v1.1's JSON layout that share no name."""

    train: dict[str, Any]
    validation: dict[str, Any]


@dataclass(frozen=True)
class Fact:
    """One thing told in a passage: ``value`` stands in the context at character ``value_start``."""

    entity: str
    relation: Relation
    value: str
    value_start: int


@dataclass(frozen=True)
class Passage:
    """A paragraph and everything it tells."""

    context: str
    facts: tuple[Fact, ...]


def make_demo_world(seed: int, num_train_questions: int, num_validation_questions: int) -> DemoWorld:
    """Build both splits, each with exactly the asked number of questions.

    Equal arguments give equal worlds on every Python and platform. Ids are unique over both splits. Training has
    one annotation per answer; validation a second one where a longer answer is as right ("85 people" for "85").
    """
    return DemoWorld(
        train=_make_split("train", seed, num_train_questions),
        validation=_make_split("validation", seed, num_validation_questions),
    )


def make_retellings(seed: int, num_passages: int, sizes: Sizes = SIZES) -> list[tuple[str, list[str]]]:
    """Return passages of the pretraining names, each with its facts told once more in other sentences.

    This is plain text for the demo encoder's pretraining: no questions, no labels, sentences in no order.
    """
    names = names_of("pretraining")
    dice = _dice("pretraining", seed)
    told = []
    for _ in range(num_passages):
        passage = tell_passage(names, dice, sizes)
        sentences = [f"{_upper(fact.entity)} {_say(fact.relation, fact.value, dice)}." for fact in passage.facts]
        told.append((passage.context, dice.shuffled(sentences)))
    return told


def list_questions(seed: int, num_questions: int) -> list[str]:
    """Return questions about the pretraining names, without passages or answers: text for a tokenizer."""
    split = _make_split("pretraining", seed, num_questions)
    return [
        qa["question"] for article in split["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]
    ]


def tell_passage(names: Names, dice: Dice, sizes: Sizes = SIZES) -> Passage:
    """Tell one paragraph of one of ``sizes``: the numbers of its entities and of the relations told of each."""
    subject = dice.pick(SUBJECTS)
    num_entities, num_relations = dice.pick(sizes)
    entities: list[str] = []
    while len(entities) < num_entities:
        entity = _name_entity(subject, names, dice)
        if entity not in entities:
            entities.append(entity)
    relations = dice.shuffled(subject.relations)[:num_relations]
    taken = set(entities)
    told: dict[tuple[str, str], str] = {}
    for relation in relations:
        for entity in entities:
            value = _draw_value(relation, names, dice, taken)
            taken.add(value)
            told[entity, relation.name] = value
    by_entity = dice.below(2) == 0
    context = dice.pick(subject.introductions)
    facts: list[Fact] = []

    def add(opening: str, entity: str, clauses: list[Relation]) -> None:
        nonlocal context
        context += " " + opening
        for place, relation in enumerate(clauses):
            value = told[entity, relation.name]
            before, after = dice.pick(relation.phrases).split("{v}")
            context += (" and " if place else " ") + before
            facts.append(Fact(entity, relation, value, len(context)))
            context += value + after
        context += "."

    if by_entity:
        for number, entity in enumerate(entities):
            order = dice.shuffled(relations)
            link = dice.pick(_LINKS) if number else ""
            opening = link + entity if link else _upper(entity)
            while order:
                width = min(len(order), 1 + dice.below(2))
                add(opening, entity, order[:width])
                order = order[width:]
                opening = _pronoun(subject, entity, dice)
    else:
        for relation in relations:
            for entity in dice.shuffled(entities):
                add(_upper(entity), entity, [relation])
    return Passage(context, tuple(facts))


def _make_split(split: str, seed: int, num_questions: int) -> dict[str, Any]:
    names, dice = names_of(split), _dice(split, seed)
    articles: list[dict[str, Any]] = []
    made = 0
    while made < num_questions:
        if not articles or len(articles[-1]["paragraphs"]) == PARAGRAPHS_PER_ARTICLE:
            title = f"The valley of the {dice.pick(names.rivers)}, part {len(articles) + 1}"
            articles.append({"title": title, "paragraphs": []})
        passage = tell_passage(names, dice)
        asked = dice.shuffled(passage.facts)[: min(QUESTIONS_PER_PARAGRAPH, num_questions - made)]
        qas = []
        for fact in asked:
            answers = [{"text": fact.value, "answer_start": fact.value_start}]
            longer = f"{fact.value} {fact.relation.unit}"
            if split == "validation" and passage.context.startswith(longer, fact.value_start) and fact.relation.unit:
                answers.append({"text": longer, "answer_start": fact.value_start})
            question = dice.pick(fact.relation.questions).replace("{e}", fact.entity)
            qas.append({"id": f"demo-{split}-{made:06d}", "question": question, "answers": answers})
            made += 1
        articles[-1]["paragraphs"].append({"context": passage.context, "qas": qas})
    return {"version": "demo-1.0", "data": articles}


def _dice(purpose: str, seed: int) -> Dice:
    # Streams of one seed must differ by purpose, and hash() of a string differs by process.
    offset = ("train", "validation", "pretraining").index(purpose)
    return Dice(random.Random(3 * seed + offset))


def _name_entity(subject: Subject, names: Names, dice: Dice) -> str:
    if subject.name == "person":
        return names.person(dice)
    pool = {"firm": names.firms, "town": names.towns, "landmark": names.landmarks}[subject.name]
    return subject.article + dice.pick(pool)


def _draw_value(relation: Relation, names: Names, dice: Dice, taken: set[str]) -> str:
    first_year, last_year = _YEARS
    fewest, most = _COUNTS
    while True:
        if relation.value_kind == "person":
            value = names.person(dice)
        elif relation.value_kind == "year":
            value = str(first_year + dice.below(last_year - first_year + 1))
        elif relation.value_kind == "count":
            value = str(fewest + dice.below(most - fewest + 1))
        else:
            pools = {
                "town": names.towns,
                "river": names.rivers,
                "goods": names.goods,
                "trade": names.trades,
                "material": names.materials,
            }
            value = dice.pick(pools[relation.value_kind])
        if value not in taken:
            return value


def _say(relation: Relation, value: str, dice: Dice) -> str:
    return dice.pick(relation.phrases).replace("{v}", value)


def _pronoun(subject: Subject, entity: str, dice: Dice) -> str:
    if subject.name == "person":
        she, he = subject.pronouns
        return she if entity.split()[0][-1] in "aeé" else he
    return dice.pick(subject.pronouns)


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
