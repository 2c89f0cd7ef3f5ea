"""The demo world: reproducible, true to itself, without shared names, and answered by nothing but reading."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import fields
from itertools import combinations

import pytest

from podsquad.data.checks import find_fault
from podsquad.data.demo.names import NAME_SETS, Dice, Names, names_of
from podsquad.data.demo.relations import QUESTION_KINDS, SUBJECTS, question_kind
from podsquad.data.demo.world import Passage, list_questions, make_demo_world, make_retellings, tell_passage
from podsquad.data.squad import Record, iterate_squad

WORLD = make_demo_world(1984, 800, 400)
RECORDS = {"train": list(iterate_squad(WORLD.train)), "validation": list(iterate_squad(WORLD.validation))}
SPLITS = ("train", "validation")


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()


def told_passages(name_set: str, count: int) -> list[Passage]:
    dice = Dice(random.Random(5))
    return [tell_passage(names_of(name_set), dice) for _ in range(count)]


def all_names(names: Names) -> set[str]:
    return {name for field in fields(names) for name in getattr(names, field.name)}


def texts_of(name_set: str) -> list[str]:
    if name_set == "pretraining":
        told = [text for context, sentences in make_retellings(7, 200) for text in (context, *sentences)]
        return told + list_questions(7, 400)
    return [text for record in RECORDS[name_set] for text in (record.title, record.context, record.question)]


@pytest.mark.parametrize(("num_train", "num_validation"), [(10, 10), (47, 13), (301, 96)])
def test_a_world_has_exactly_the_asked_number_of_questions(num_train: int, num_validation: int) -> None:
    world = make_demo_world(3, num_train, num_validation)
    assert len(list(iterate_squad(world.train))) == num_train
    assert len(list(iterate_squad(world.validation))) == num_validation


def test_equal_arguments_make_the_same_world_on_every_machine() -> None:
    # Whatever alters these digests alters every key and every figure of the demo: say so in the change log.
    assert digest(WORLD.train) == "c3de2cb01f9cdae30c9ad31c1b3f66fe20c7911ff2d5de2bcbdab09e6b33cff0"
    assert digest(WORLD.validation) == "7030471fea102653c30680e0dd00cc9dbc35b6420efa7f5614f720c6ba8b1fee"
    assert digest(make_retellings(1861, 200)) == "b059e91887b4f3f842f3df13ba978165cfda6fc2dc49bad86191564b47316f71"


def test_another_seed_makes_another_world() -> None:
    assert make_demo_world(1985, 800, 400) != WORLD


def test_a_longer_training_split_leaves_the_validation_split_alone() -> None:
    assert make_demo_world(1984, 900, 400).validation == WORLD.validation


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_stands_at_its_offset(split: str) -> None:
    assert [find_fault(record) for record in RECORDS[split]] == [None] * len(RECORDS[split])


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_stands_once_in_its_passage(split: str) -> None:
    for record in RECORDS[split]:
        answer = re.escape(record.answers[0].text)
        assert len(re.findall(rf"\b{answer}\b", record.context)) == 1, record


def test_ids_are_unique_over_both_splits() -> None:
    ids = [record.id for split in SPLITS for record in RECORDS[split]]
    assert len(set(ids)) == len(ids) == 1200


@pytest.mark.parametrize(("one", "other"), list(combinations(NAME_SETS, 2)))
def test_two_sets_share_no_name(one: str, other: str) -> None:
    assert all_names(names_of(one)).isdisjoint(all_names(names_of(other)))


@pytest.mark.parametrize("name_set", NAME_SETS)
def test_no_name_is_of_two_kinds(name_set: str) -> None:
    names = names_of(name_set)
    counts = Counter(name for field in fields(names) for name in getattr(names, field.name))
    assert counts
    assert max(counts.values()) == 1


@pytest.mark.parametrize(("text_of", "name_set"), [(a, b) for a in NAME_SETS for b in NAME_SETS if a != b])
def test_no_name_of_one_set_stands_in_the_text_of_another(text_of: str, name_set: str) -> None:
    text = "\n".join(texts_of(text_of))
    words = set(re.findall(r"\w+", text))
    for name in all_names(names_of(name_set)):
        assert name not in (text if " " in name else words)


@pytest.mark.parametrize("split", SPLITS)
def test_people_have_names_of_their_own_set(split: str) -> None:
    names = names_of(split)
    people = {f"{given} {family}" for given in names.given_names for family in names.family_names}
    told = [
        fact.value
        for passage in told_passages(split, 100)
        for fact in passage.facts
        if fact.relation.value_kind == "person"
    ]
    assert told
    assert set(told) <= people


@pytest.mark.parametrize("name_set", NAME_SETS)
def test_every_fact_has_a_rival_of_the_same_relation(name_set: str) -> None:
    for passage in told_passages(name_set, 300):
        entities, values = defaultdict(set), defaultdict(list)
        for fact in passage.facts:
            entities[fact.relation.name].add(fact.entity)
            values[fact.relation.name].append(fact.value)
        assert all(len(rivals) >= 2 for rivals in entities.values())
        # The rivals' values differ, so that only one of them is right.
        told = [value for several in values.values() for value in several]
        assert len(set(told)) == len(told)


@pytest.mark.parametrize("name_set", NAME_SETS)
def test_a_fact_stands_where_it_says(name_set: str) -> None:
    for passage in told_passages(name_set, 100):
        for fact in passage.facts:
            assert passage.context.startswith(fact.value, fact.value_start)
            assert fact.entity.lower() in passage.context[: fact.value_start].lower()


def test_a_question_names_an_entity_of_its_passage() -> None:
    for record in RECORDS["validation"]:
        assert any(name in record.question and name in record.context for name in entity_names("validation", record)), (
            record
        )


def entity_names(split: str, record: Record) -> list[str]:
    names = names_of(split)
    given = [word for word in record.question.rstrip("?").split() if word in names.given_names]
    return [*names.firms, *names.towns, *names.landmarks, *given]


@pytest.mark.parametrize("split", SPLITS)
def test_all_question_kinds_are_asked(split: str) -> None:
    asked = Counter(question_kind(record.question) for record in RECORDS[split])
    assert set(asked) == set(QUESTION_KINDS)
    assert min(asked.values()) >= 0.01 * len(RECORDS[split])


def test_passages_speak_of_all_subjects_in_both_orders() -> None:
    passages = told_passages("train", 60)
    introductions = {passage.context.split(".")[0] + "." for passage in passages}
    assert all(introductions & set(subject.introductions) for subject in SUBJECTS)
    # Told entity by entity, the first two facts are of one entity; relation by relation, they are of two.
    assert {len({fact.entity for fact in passage.facts[:2]}) for passage in passages} == {1, 2}


def test_only_validation_carries_a_second_annotation_and_it_is_longer() -> None:
    assert {len(record.answers) for record in RECORDS["train"]} == {1}
    doubled = [record for record in RECORDS["validation"] if len(record.answers) == 2]
    assert doubled
    for record in doubled:
        short, long = record.answers
        assert short.start == long.start
        assert re.fullmatch(re.escape(short.text) + r" [a-z]+", long.text)


def test_a_retelling_says_every_fact_once_in_a_sentence_of_its_own() -> None:
    for context, sentences in make_retellings(11, 50, ((2, 3),)):
        told_of = Counter(" ".join(sentence.removeprefix("The ").split()[:2]) for sentence in sentences)
        firsts = Counter(sentence.removeprefix("The ").split()[0] for sentence in sentences)
        assert len(sentences) == 6
        assert {3} in (set(told_of.values()), set(firsts.values()))  # two entities, three facts each
        assert all(first in context for first in firsts)


def test_a_sentence_without_a_question_word_has_no_kind() -> None:
    with pytest.raises(ValueError, match="no question word"):
        question_kind("The Old Mill stands.")
