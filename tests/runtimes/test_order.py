"""The order of samples is a pure function; the ledger tells every difference."""

from __future__ import annotations

import numpy as np
import pytest

from podsquad.runtimes.order import LEDGER_START, Ledger, epoch_order, mix, splitmix64, step_features


def test_splitmix64_gives_the_published_sequence() -> None:
    # The first outputs of the reference generator from seed 1234567: state advances by the golden gamma.
    states = np.array([(1234567 + n * 0x9E3779B97F4A7C15) % 2**64 for n in range(5)], np.uint64)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(states).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_an_epoch_takes_every_feature_once(count: int) -> None:
    assert sorted(epoch_order(7, 0, count).tolist()) == list(range(count))


def test_the_order_never_changes() -> None:
    assert epoch_order(1984, 0, 8).tolist() == GOLDEN[0]
    assert epoch_order(1984, 1, 8).tolist() == GOLDEN[1]


GOLDEN = ([7, 4, 6, 1, 2, 5, 0, 3], [3, 2, 1, 7, 0, 6, 5, 4])


@pytest.mark.parametrize(("seed", "epoch"), [(1, 1), (2, 0), (2**63 - 1, 0)])
def test_seed_and_epoch_change_the_order(seed: int, epoch: int) -> None:
    assert epoch_order(seed, epoch, 100).tolist() != epoch_order(1, 0, 100).tolist()


def test_positions_are_evenly_spread() -> None:
    first = np.array([epoch_order(seed, 0, 4)[0] for seed in range(400)])
    assert np.all(np.abs(np.bincount(first, minlength=4) - 100) < 40)


def test_mix_is_64_bits_and_tells_seed_from_number() -> None:
    assert len({mix(seed, number) for seed in range(20) for number in range(20)}) == 400
    assert 0 <= mix(-1, 2**64) < 2**64


def test_the_last_step_keeps_the_rest() -> None:
    order = np.arange(10)
    assert [step_features(order, step, 4).tolist() for step in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def entered(*steps: tuple[list[int], list[int]]) -> str:
    ledger = Ledger()
    for features, questions in steps:
        ledger.enter(np.array(features), np.array(questions, np.int32))
    return ledger.digest


def test_the_ledger_depends_on_every_entry_and_their_order() -> None:
    digests = [
        entered(),
        entered(([1, 2], [1, 2])),
        entered(([2, 1], [2, 1])),
        entered(([1, 2], [1, 1])),
        entered(([1], [1]), ([2], [2])),
        entered(([1, 2], [1, 2]), ([3], [3])),
    ]
    assert digests[0] == LEDGER_START
    assert len(set(digests)) == len(digests)


def test_a_ledger_goes_on_from_its_digest() -> None:
    ledger = Ledger(entered(([1, 2], [1, 2])))
    ledger.enter(np.array([3]), np.array([3]))
    assert ledger.digest == entered(([1, 2], [1, 2]), ([3], [3]))


def test_the_ledger_does_not_depend_on_dtypes() -> None:
    ledger = Ledger()
    ledger.enter(np.array([1, 2], np.int16), np.array([1, 2], np.uint8))
    assert ledger.digest == entered(([1, 2], [1, 2]))
