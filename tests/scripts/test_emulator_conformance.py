"""The conformance table: what counts as a pass, which failures have reasons, when a target is missed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "emulator_conformance.py"

REPORT = """<testsuites><testsuite>
<testcase name="test_a" time="0.5"/>
<testcase name="test_b" time="0.25"><skipped/></testcase>
<testcase name="test_sgd_IR[SGD]" time="0.25"><failure message="no graph"/></testcase>
<testcase name="test_numbers" time="1"><failure message="1 is not 2"/></testcase>
<testcase name="test_set_up" time="0"><error message="fixture"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def conformance(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("emulator_conformance", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "emulator_conformance", module)
    spec.loader.exec_module(module)
    return module


def test_a_report_is_counted_and_failures_get_their_reasons(conformance: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    suite = conformance.Suite("poptorch", "optimizers_test")
    conformance._read(tmp_path / "report.xml", suite)
    assert (suite.passed, suite.failed, suite.skipped, suite.seconds) == (1, 3, 1, 2.0)
    assert suite.failures == {
        "test_sgd_IR[SGD]": "reads PopART's graph: there is none",
        "test_numbers": "",
        "test_set_up": "",
    }


@pytest.mark.parametrize(
    ("suite", "outcome"),
    [("def test_a(): pass\ndef test_b(): assert 0", (1, 1)), ("import not_there", None), ("", None)],
    ids=["one of two passes", "a module is missing", "no tests"],
)
def test_a_suite_that_does_not_run_counts_for_nothing(
    conformance: ModuleType, suite: str, outcome: tuple[int, int] | None, tmp_path: Path
) -> None:
    (tmp_path / "some_test.py").write_text(suite)
    if outcome is None:
        with pytest.raises(SystemExit, match="some_test did not run"):
            conformance.run("poptorch", tmp_path, "some_test", sys.executable)
        return
    made = conformance.run("poptorch", tmp_path, "some_test", sys.executable)
    assert (made.passed, made.failed) == outcome


def test_what_has_no_reason_is_a_miss(conformance: ModuleType) -> None:
    suite = conformance.Suite("poptorch", "losses_test", passed=99, failed=1, failures={"test_numbers": ""})
    assert conformance._misses([suite]) == ["no reason is known: losses_test test_numbers"]


@pytest.mark.parametrize(("passed", "missed"), [(89, True), (90, False)], ids=["below", "at the target"])
def test_nine_tenths_of_poptorchs_tests_must_pass(conformance: ModuleType, passed: int, missed: bool) -> None:
    reasons = {f"test_{number}": "a reason" for number in range(100 - passed)}
    suite = conformance.Suite("poptorch", "options_test", passed=passed, failed=100 - passed, failures=reasons)
    assert bool(conformance._misses([suite])) is missed


def test_all_of_optimum_graphcores_tests_must_pass(conformance: ModuleType) -> None:
    suite = conformance.Suite("optimum-graphcore", "test_trainer", passed=27, failed=1, failures={"test_x": "a reason"})
    assert conformance._misses([suite]) == ["all of test_trainer must pass"]


def test_the_table_is_of_the_emulator_as_it_is(conformance: ModuleType) -> None:
    kept = json.loads(conformance._RESULTS.read_text(encoding="utf-8"))
    assert kept["packages_sha256"] == conformance.packages_digest(), "run scripts/emulator_conformance.py again"


def test_a_changed_or_renamed_module_has_another_digest(conformance: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "poptorch").mkdir()
    module = tmp_path / "poptorch/ops.py"
    module.write_text("one = 1\n")
    digests = [conformance.packages_digest(tmp_path)]
    module.write_text("one = 2\n")
    digests.append(conformance.packages_digest(tmp_path))
    module.rename(tmp_path / "poptorch/operations.py")
    digests.append(conformance.packages_digest(tmp_path))
    assert len(set(digests)) == 3
