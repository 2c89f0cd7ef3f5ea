"""The table of the benchmarks: what falls short says so, and the README quotes what the results files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.targets import AIMS, FALLS_SHORT, NOT_MEASURED, demo_figures, make_table, put_into
from benchmarks.timing import RESULTS

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_quotes_what_the_results_hold() -> None:
    missing = [line for line in make_table().splitlines() if line not in README.read_text("utf-8")]
    assert f"{demo_figures()}." in README.read_text("utf-8")
    assert not missing, "`python -m benchmarks.targets README.md` puts them there"


def test_the_readme_is_brought_to_what_the_results_hold() -> None:
    readme = README.read_text("utf-8")
    stale = readme.replace(demo_figures(), "1 s and F1 2.0").replace("logits to answers", "logits to nothing")
    lines = stale.splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if "`python -m benchmarks." in line and line[0] == "|")
    assert put_into("".join(lines[:last] + lines[last + 1 :])) == readme
    with pytest.raises(ValueError, match="holds 0 times"):
        put_into(readme.replace("| work |", "| something |"))


@pytest.mark.parametrize(("seconds", "processor_seconds", "is_short"), [(9.9, 12.0, False), (10.1, 5.0, True)])
def test_a_night_with_nothing_new_may_take_ten_seconds(
    tmp_path: Path, seconds: float, processor_seconds: float, is_short: bool
) -> None:
    times = {"median_seconds": {"same_store": 5.0, "empty_store": seconds}}
    times |= {"median_processor_seconds": {"same_store": 5.0, "empty_store": processor_seconds}}
    machine = {"machine": {"others_used_cores": 0.0, "cores": 2}}
    (tmp_path / "unchanged_run.json").write_text(json.dumps(times | machine))
    same, empty = [line for line in make_table(tmp_path).splitlines() if "benchmarks.unchanged_run" in line]
    assert FALLS_SHORT not in same
    assert (FALLS_SHORT in empty) == is_short
    assert f"{seconds:.1f} s" in empty


def test_every_result_names_its_machine() -> None:
    files = [RESULTS / f"{name}.json" for name in {aim.module for aim in AIMS}]
    there = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
    assert there
    for result in there:
        assert result["machine"]["processor"]
        assert result["machine"]["cores"] > 0
        assert result["versions"]["python"]


def test_a_row_counts_what_was_found_and_tells_a_busy_machine(tmp_path: Path) -> None:
    name, machine = "torchmetrics", {"others_used_cores": 1.3, "cores": 2, "was_busy": True}
    result = {"times_podsquad": {name: 6.0}, "times_podsquad_processor_time": {name: 5.5}, "machine": machine}
    result["facts"] = {"equal_to_official": True, "questions": 1234}
    (tmp_path / "metric.json").write_text(json.dumps(result))
    (row,) = [line for line in make_table(tmp_path).splitlines() if "benchmarks.metric" in line]
    assert row.startswith("| exact match and F1, 1,234 questions |")
    assert "| 1.3 of 2 cores, busy |" in row
    assert FALLS_SHORT not in row


def step(clock: float, processor: float, gradient: float, mine: float, theirs: float) -> dict[str, Any]:
    found = {"times_faster": clock, "times_less_processor_time": processor}
    found |= {"peak_memory_mib": {"podsquad": mine, "trainer": theirs, "trainer_least": 900.0}}
    gradients = {"loss_relative": 1e-8, "largest_relative": gradient}
    surroundings = {"machine": {"others_used_cores": 1.3, "cores": 2}}
    return {"float32": found, "bfloat16": found, "gradients": gradients} | surroundings


@pytest.mark.parametrize(
    ("result", "short"),
    [
        (step(2.5, 2.1, 1e-6, 1000, 1001), set()),
        (step(1.9, 2.1, 1e-6, 1000, 1001), {"an optimizer step, float32"}),
        (step(2.5, 1.7, 1e-6, 1000, 1001), {"an optimizer step, float32"}),
        (step(2.5, 2.1, 2e-5, 1000, 1001), {"an optimizer step, float32", "the same, bf16"}),
        (step(2.5, 2.1, 1e-6, 1002, 1001), {"peak memory of a step, float32", "the same, bf16"}),
    ],
    ids=["all reached", "slow by the clock", "slow by processor time", "other gradients", "more memory"],
)
def test_what_falls_short_says_so(tmp_path: Path, result: dict[str, Any], short: set[str]) -> None:
    (tmp_path / "training_step.json").write_text(json.dumps(result))
    lines = make_table(tmp_path).splitlines()[2:]
    found = {line.split("|")[1].strip() for line in lines if FALLS_SHORT in line}
    assert found == short
    told = [line for line in lines if "benchmarks.training_step" in line]
    assert len(told) == 4
    assert all("1.3 of 2 cores |" in line for line in told)
    assert all("(900 at its smallest batch)" in line for line in told if "MiB" in line)
    others = [line for line in lines if line not in told]
    assert others
    assert all(NOT_MEASURED in line for line in others)
