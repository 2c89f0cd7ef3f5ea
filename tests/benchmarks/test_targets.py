"""The table of the benchmarks: what falls short says so, and the README quotes what the results files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import BESIDE_THE_TABLE, MODULES
from benchmarks.aims import AIMS
from benchmarks.targets import FALLS_SHORT, NOT_MEASURED, make_table, put_into, sentences
from benchmarks.timing import RESULTS, Times, write_result

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
IPU_SUITES = "emulator_conformance.json"  # counts of tests, by scripts/emulator_conformance.py: no times


def test_the_readme_quotes_what_the_results_hold() -> None:
    readme = README.read_text("utf-8")
    lines = [*make_table().splitlines(), *(begin + rest for begin, rest in sentences().items())]
    missing = [line for line in lines if line not in readme.splitlines()]
    assert not missing, "`python -m benchmarks.targets README.md` puts them there"
    assert (RESULTS / "table.md").read_text("utf-8") == f"{make_table()}\n", "`python -m benchmarks.targets` writes it"


def test_the_readme_is_brought_to_what_the_results_hold() -> None:
    readme = README.read_text("utf-8")
    stale = readme.replace("logits to answers", "logits to nothing")
    for begin, rest in sentences().items():
        stale = stale.replace(begin + rest, f"{begin}once something else.")
    assert sum("once something else" in line for line in stale.splitlines()) == len(sentences())
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


def read(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / name).read_text("utf-8"))
    return result


MADE = sorted(path.name for path in RESULTS.glob("*.json") if path.name != IPU_SUITES)


def test_each_benchmark_has_a_result() -> None:
    assert {f"{module}.json" for module in (*MODULES, *BESIDE_THE_TABLE)} <= set(MADE)
    assert {aim.module for aim in AIMS} == set(MODULES)


@pytest.mark.parametrize("name", MADE)
def test_a_result_names_its_machine_and_versions(name: str) -> None:
    machine, versions = read(name)["machine"], read(name)["versions"]
    assert machine["processor"]
    assert machine["cores"] > 0
    needed = {"kind", "others_used_cores", "was_busy"}
    assert needed <= machine.keys(), f"make it again: python -m benchmarks.{Path(name).stem}"
    assert "family" in machine["kind"]
    assert {"python"} < versions.keys()


def test_the_figures_of_the_table_are_of_one_machine(tmp_path: Path) -> None:
    kinds = {read(f"{aim.module}.json")["machine"].get("kind") for aim in AIMS}
    assert len(kinds) == 1, "times of several machines stand in one table: make all of them again, on one"
    for name in ("demo", "metric"):
        machine = {"cores": 2, "processor": "AMD EPYC", "kind": f"family of {name}"}
        (tmp_path / f"{name}.json").write_text(json.dumps({"machine": machine}))
    (line,) = [rest for begin, rest in sentences(tmp_path).items() if "machine" in begin]
    assert line == "demo: 2 cores, AMD EPYC, family of demo; metric: 2 cores, AMD EPYC, family of metric."


@pytest.mark.parametrize(
    ("peer", "processor", "is_short"),
    [(14.999, 16.0, True), (16.0, 14.999, True), (15.0, 15.0, False)],
    ids=["clock", "processor", "reached"],
)
def test_a_mark_is_missed_by_a_thousandth(tmp_path: Path, peer: float, processor: float, is_short: bool) -> None:
    times = Times()
    times.add("run_qa_restated", peer, processor)
    times.add("podsquad", 1.0, 1.0)
    facts = {"identical_answers": 5, "questions": 5}
    write_result(tmp_path / "answers.json", times, facts, libraries=("numpy",))
    (row,) = [line for line in make_table(tmp_path).splitlines() if "benchmarks.answers" in line]
    assert (FALLS_SHORT in row) == is_short


@pytest.mark.parametrize(("seconds", "is_short"), [([170.0, 179.9], False), ([100.0, 180.1], True)])
def test_each_run_of_the_demo_ends_in_time(tmp_path: Path, seconds: list[float], is_short: bool) -> None:
    result = {"median_seconds": 140.0, "median_processor_seconds": 250.0, "runs": [{"seconds": s} for s in seconds]}
    result["machine"] = {"others_used_cores": 0.0, "cores": 2}
    (tmp_path / "demo.json").write_text(json.dumps(result))
    (row,) = [line for line in make_table(tmp_path).splitlines() if "benchmarks.demo" in line]
    assert (FALLS_SHORT in row) == is_short
    assert "| 140 s" in row


@pytest.mark.parametrize(("seconds", "is_short"), [(1.9, False), (2.1, True)])
def test_the_flow_s_module_is_imported_in_two_seconds(tmp_path: Path, seconds: float, is_short: bool) -> None:
    name = "import_of_the_flow"
    result = {"median_seconds": {name: seconds}, "median_processor_seconds": {name: 1.0}}
    machine = {"machine": {"others_used_cores": 0.0, "cores": 2}}
    (tmp_path / "cached_run.json").write_text(json.dumps(result | machine))
    cached, imported = [line for line in make_table(tmp_path).splitlines() if "benchmarks.cached_run" in line]
    assert (FALLS_SHORT in imported) == is_short
    assert f"| {seconds:.2f} s" in imported
    assert NOT_MEASURED in cached


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
