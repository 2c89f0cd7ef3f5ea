"""Threads that keep order, and pieces that do not depend on them."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from podsquad.data import workers as module
from podsquad.data.workers import Count, Workers, cut, library_threads_off


@pytest.mark.parametrize("number", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(number: int) -> None:
    names = set()

    def square(job: int) -> int:
        names.add(threading.current_thread().name)
        return job * job

    with Workers(number) as workers:
        assert list(workers.map(square, range(50))) == [job * job for job in range(50)]
        assert list(workers.map(square, [])) == []
    assert (threading.current_thread().name in names) == (number == 1)


@pytest.mark.parametrize("number", [1, 3])
def test_a_failing_job_is_heard_of(number: int) -> None:
    def fail(job: int) -> int:
        return 10 // (job - 4)

    with Workers(number) as workers, pytest.raises(ZeroDivisionError):
        list(workers.map(fail, range(20)))


def test_few_results_wait_to_be_taken() -> None:
    begun: list[int] = []
    with Workers(2) as workers:
        results = workers.map(begun.append, range(100))
        next(results)
        assert len(begun) <= 5


def test_pieces_are_bounded_by_texts_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TEXTS", 3)
    monkeypatch.setattr(module, "_MOST_BYTES", 100)
    sizes = [10, 10, 10, 10, 90, 20, 500, 1, 0, 0, 0]
    parts = cut(np.array(sizes, np.int64))
    assert [sizes[part] for part in parts] == [[10, 10, 10], [10, 90], [20], [500], [1, 0, 0], [0]]
    assert cut(np.zeros(0, np.int64)) == []


def test_the_librarys_threads_are_off_meanwhile_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "TOKENIZERS_PARALLELISM"
    monkeypatch.delenv(name, raising=False)
    with library_threads_off():
        assert os.environ[name] == "false"
    assert name not in os.environ
    monkeypatch.setenv(name, "true")
    with library_threads_off():
        assert os.environ[name] == "true"


def test_counts_add_up() -> None:
    told: list[tuple[int, int]] = []
    count = Count(5, lambda done, total: told.append((done, total)))
    count.add(2)
    count.add(3)
    assert told == [(2, 5), (5, 5)]
