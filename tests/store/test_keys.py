"""Keys: the same ingredients give the same key, any other ingredient another, and the difference is told in words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from podsquad.store.keys import Ingredients, differences, key_of, make_ingredients


def ingredients() -> Ingredients:
    return make_ingredients(
        stage="train",
        format_version=1,
        settings={"training.learning_rate": 1e-3, "model.dropout": None, "data.train_file": {"sha256": "ab" * 32}},
        inputs={"tokenize": "t1", "compile": "c1"},
        code={"podsquad.a": "1", "podsquad.b": "2", "podsquad.c": "3", "podsquad.d": "4"},
        libraries={"numpy": "2.2", "runtime torch": "2.13.0"},
    )


def reversed_order(value: Any) -> Any:
    return {name: reversed_order(value[name]) for name in reversed(value)} if isinstance(value, dict) else value


def test_the_key_does_not_depend_on_any_order() -> None:
    record = ingredients()
    assert list(reversed_order(record)) != list(record)
    assert key_of(reversed_order(record)) == key_of(record)
    assert len(key_of(record)) == 32


def change(part: str, name: str, value: Any) -> Callable[[Ingredients], None]:
    return lambda record: record[part].__setitem__(name, value)


def remove(part: str, *names: str) -> Callable[[Ingredients], None]:
    return lambda record: [record[part].pop(name) for name in names].clear()


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (change("settings", "training.learning_rate", 2e-3), ["training.learning_rate 0.001 -> 0.002"]),
        (change("settings", "model.dropout", 0.1), ["model.dropout none -> 0.1"]),
        (
            change("settings", "data.train_file", {"sha256": "cd" * 32}),
            ["data.train_file content abababab -> content cdcdcdcd"],
        ),
        (change("settings", "data.train_file", None), ["data.train_file content abababab -> none"]),
        (change("settings", "new.field", None), ["new.field unknown -> none"]),
        (remove("settings", "model.dropout"), ["model.dropout none -> unknown"]),
        (change("inputs", "tokenize", "t2"), ["input tokenize changed"]),
        (change("libraries", "numpy", "2.3"), ["numpy 2.2 -> 2.3"]),
        (remove("libraries", "runtime torch"), ["runtime torch 2.13.0 -> unknown"]),
        (change("code", "podsquad.b", "9"), ["code changed: podsquad.b"]),
        (
            remove("code", "podsquad.a", "podsquad.b", "podsquad.c", "podsquad.d"),
            ["code changed: podsquad.a, podsquad.b, podsquad.c and 1 more"],
        ),
        (lambda record: record.update(format=2), ["format 1 -> 2"]),
    ],
    ids=lambda value: value[0].replace(" ", "-") if isinstance(value, list) else "",
)  # fmt: skip
def test_every_other_ingredient_gives_another_key_and_is_named(
    alter: Callable[[Ingredients], None], told: list[str]
) -> None:
    old, new = ingredients(), copy.deepcopy(ingredients())
    alter(new)
    assert key_of(new) != key_of(old)
    assert differences(old, new) == told


@pytest.mark.parametrize("value", [1, True, 1.0], ids=repr)
def test_values_that_python_takes_for_equal_differ_where_their_keys_do(value: Any) -> None:
    keys, told = set(), []
    for other in (1, True, 1.0):
        old, new = ingredients(), ingredients()
        old["settings"]["x"], new["settings"]["x"] = value, other
        keys.add(key_of(new))
        told.append(bool(differences(old, new)))
        assert told[-1] == (key_of(old) != key_of(new))
    assert len(keys) == 3
    assert told.count(False) == 1


def test_settings_are_told_first_and_equal_records_differ_in_nothing() -> None:
    old, new = ingredients(), copy.deepcopy(ingredients())
    assert differences(old, new) == []
    new["code"]["podsquad.a"] = new["inputs"]["compile"] = "other"
    new["settings"]["training.learning_rate"] = 1.0
    assert differences(old, new) == [
        "training.learning_rate 0.001 -> 1.0",
        "input compile changed",
        "code changed: podsquad.a",
    ]


def test_a_record_that_an_older_version_wrote_without_a_part_still_compares() -> None:
    assert differences({"stage": "train"}, make_ingredients(
        stage="train", format_version=1, settings={}, inputs={}, code={}, libraries={"numpy": "2.2"}
    )) == ["numpy unknown -> 2.2", "format None -> 1"]  # fmt: skip
