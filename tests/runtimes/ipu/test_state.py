"""The host's random states go through arrays and JSON unchanged; class names come out plain."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from podsquad.runtimes.ipu.model import plain_class_name
from podsquad.runtimes.ipu.state import restore_host_random, saved_host_random


def drawn() -> tuple[float, float, float, float]:
    return random.gauss(0, 1), float(np.random.standard_normal()), float(torch.rand(())), random.random()


def test_the_generators_go_on_where_they_were() -> None:
    before = saved_host_random()
    try:
        random.seed(3)
        np.random.seed(3)
        torch.manual_seed(3)
        drawn()  # leaves one half of a pair of normal numbers waiting, in Python and in numpy
        arrays, state = saved_host_random()
        state = json.loads(json.dumps(state))
        expected = [drawn() for _ in range(3)]
        assert [drawn() for _ in range(3)] != expected
        restore_host_random(arrays, state)
        assert [drawn() for _ in range(3)] == expected
    finally:
        restore_host_random(*before)


@pytest.mark.parametrize(
    "name",
    ["PoptorchPipelinedRobertaForQuestionAnswering", "PipelinedRobertaForQuestionAnswering",
     "PoptorchRobertaForQuestionAnswering", "RobertaForQuestionAnswering"],
)  # fmt: skip
def test_a_pipelined_class_is_named_as_transformers_names_it(name: str) -> None:
    assert plain_class_name(name) == "RobertaForQuestionAnswering"
