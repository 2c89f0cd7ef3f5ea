"""Run the suites that optimum-graphcore and poptorch publish, unmodified, over the emulator; write a table.

    python scripts/emulator_conformance.py OPTIMUM_GRAPHCORE POPTORCH --python .venv-ipu/bin/python

The two arguments are checkouts of the projects' repositories (github.com/huggingface/optimum-graphcore and
github.com/graphcore/poptorch); nothing of them is part of this one. PYTHON needs pytest and parameterized beside the
packages of constraints-ipu.txt. Each file runs in a process of its own, in its
own folder, with the emulator's packages first on the path. Every failure is listed with its reason; the script ends
with 1 when one has none, when one concerns numbers, or when a target is missed: all of optimum-graphcore's tests, 90 %
of poptorch's. Skipped tests count neither way. Results go to benchmarks/results/emulator_conformance.json, with the
digest of the packages that they are of: a test of this repository fails where the packages have changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass, field
from pathlib import Path

from podsquad.runtimes.emulator import PACKAGES, packages_for

_HERE = Path(__file__).resolve().parent
_RESULTS = _HERE.parent / "benchmarks" / "results" / "emulator_conformance.json"
_POPTORCH_TARGET = 0.9
_TIMEOUT_SECONDS = 1800

OPTIMUM_GRAPHCORE = ("test_ipu_configuration", "test_modeling_utils", "test_trainer")
POPTORCH = (
    "losses_test",
    "inputs_test",
    "batching_test",
    "outputs_test",
    "type_support_test",
    "dataloader_test",
    "precompilation_test",
    "poplar_executor_test",
    "weights_writing_test",
    "options_test",
    "optimizers_test",
)

# What a failing test asks for that the emulator does not claim: (test, reason). None of them is about numbers.
REASONS = (
    (r"test_sgd_IR|test_name_scope_hook_disabled", "reads PopART's graph: there is none"),
    (r"test_popart_partials|test_running_statistics", "reads log lines of the compiler's inner passes"),
    (r"test_export_proto_file", "wants the model as ONNX, which PopART writes"),
    (r"test_profile_report|test_pva_annotations", "wants Poplar's profile of an execution"),
    (r"test_log_cycle_count|test_get_cycles_error_msgs", "counts an IPU's cycles"),
    (r"test_get_compilation_time", "asserts that compiling takes longer than a second"),
    (r"test_distributed_compile", "asserts log lines and times of a lock between compiling processes"),
    (r"test_set_options_from_file", "asserts the words of Python 3.8's parser"),
    (r"test_early_preload", "looks into the ring buffer of poptorch's loading process"),
    (r"test_KeyboardInterrupt_in_async_data_accessor", "signals poptorch's loading process: here it is a thread"),
)


@dataclass
class Suite:
    """One file's outcome. ``failures`` maps each failing test to its reason, "" when unknown."""

    project: str
    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)


def main() -> int:
    """Run the suites, print and write the table; 0 when the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimum_graphcore", type=Path)
    parser.add_argument("poptorch", type=Path)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the IPU environment")
    parser.add_argument("--only", action="append", default=[], help="run this suite alone (may be repeated)")
    parser.add_argument("--output", type=Path, default=_RESULTS)
    given = parser.parse_args()
    digest = packages_digest()  # as they are now: the suites take their time
    suites = []
    for project, folder, names in (
        ("optimum-graphcore", given.optimum_graphcore / "tests", OPTIMUM_GRAPHCORE),
        ("poptorch", given.poptorch / "tests", POPTORCH),
    ):
        for name in names:
            if not given.only or name in given.only:
                suites.append(run(project, folder.resolve(), name, given.python))
                print(_row(suites[-1]), flush=True)
    misses = _misses(suites)
    _print_end(suites, misses)
    if not given.only:
        content = json.dumps(_as_json(suites, given, digest), indent=1)
        given.output.write_text(content + "\n", encoding="utf-8")
    return 1 if misses else 0


def run(project: str, folder: Path, name: str, python: str) -> Suite:
    """Run one file of a suite in a process of its own."""
    suite = Suite(project, name)
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "conformance_plugin"]
        # The checkout goes to the end of the path: what is tested is the optimum-graphcore that is installed.
        command += ["--import-mode=append", f"--junitxml={report}", str(folder / (name + ".py"))]
        output = Path(scratch) / "output.txt"
        with output.open("wb") as stream:
            done = subprocess.run(
                command,
                cwd=folder if project == "poptorch" else folder.parent,
                env=_environment(python),
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        # Pytest ends with 0 when all tests pass and with 1 when some fail; otherwise the file was not run as a whole.
        if done.returncode not in (0, 1) or not report.exists():
            raise SystemExit("{} did not run:\n{}".format(name, output.read_text(errors="replace")[-3000:]))
        _read(report, suite)
    return suite


def _environment(python: str) -> dict[str, str]:
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(packages_for(python)), str(_HERE)])
    environment["PATH"] = os.pathsep.join([str(Path(python).absolute().parent), environment.get("PATH", "")])
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["PYTHONSAFEPATH"] = "1"  # Python 3.11 and later: the current folder is not on the path
    environment["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # the suites load objects as torch before 2.6 did
    environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def _read(report: Path, suite: Suite) -> None:
    root = ElementTree.parse(report).getroot()
    for case in root.iter("testcase"):
        test = case.get("name", "?")
        suite.seconds += float(case.get("time", "0"))
        if case.find("skipped") is not None:
            suite.skipped += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            suite.failed += 1
            suite.failures[test] = next((reason for pattern, reason in REASONS if re.search(pattern, test)), "")
        else:
            suite.passed += 1
    suite.seconds = round(suite.seconds, 1)


def _misses(suites: list[Suite]) -> list[str]:
    """What keeps the targets from being met."""
    misses = []
    for suite in suites:
        misses += [f"no reason is known: {suite.name} {t}" for t, reason in suite.failures.items() if not reason]
        if suite.project == "optimum-graphcore" and suite.failed:
            misses.append(f"all of {suite.name} must pass")
    share = _share([suite for suite in suites if suite.project == "poptorch"])
    if share < _POPTORCH_TARGET:
        misses.append(f"{share:.1%} of poptorch's tests pass, {_POPTORCH_TARGET:.0%} must")
    return misses


def _share(suites: list[Suite]) -> float:
    ran = sum(suite.passed + suite.failed for suite in suites)
    return sum(suite.passed for suite in suites) / ran if ran else 1.0


def packages_digest(packages: Path = PACKAGES) -> str:
    """Return the sha256 over the names and contents of the emulator's modules."""
    digest = hashlib.sha256()
    for path in sorted(packages.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(packages).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _row(suite: Suite) -> str:
    passes = f"{suite.passed:>4} of {suite.passed + suite.failed:>4} pass, {suite.skipped:>2} skipped"
    return f"{suite.project:<18} {suite.name:<24} {passes}, {suite.seconds:>6.1f} s"


def _print_end(suites: list[Suite], misses: list[str]) -> None:
    for suite in suites:
        for test, reason in suite.failures.items():
            print("failed: {} {}: {}".format(suite.name, test, reason or "?"))
    print("poptorch in all: {:.1%}".format(_share([suite for suite in suites if suite.project == "poptorch"])))
    for miss in misses:
        print("MISSED: " + miss)


def _as_json(suites: list[Suite], given: argparse.Namespace, digest: str) -> dict[str, object]:
    versions = (
        "import json, platform, torch, poptorch; print(json.dumps([platform.python_version(), torch.__version__, "
    )
    versions += "poptorch.__version__]))"
    asked = subprocess.run(
        [given.python, "-c", versions], env=_environment(given.python), stdout=subprocess.PIPE, check=True
    )
    python, torch, poptorch = json.loads(asked.stdout)
    return {
        "emulated": True,
        "command": "python scripts/emulator_conformance.py OPTIMUM_GRAPHCORE POPTORCH --python PYTHON",
        "versions": {"python": python, "torch": torch, "poptorch": poptorch},
        "commits": {
            "optimum-graphcore": _commit(given.optimum_graphcore),
            "poptorch": _commit(given.poptorch),
        },
        "packages_sha256": digest,
        "poptorch_share": round(_share([suite for suite in suites if suite.project == "poptorch"]), 4),
        "suites": [asdict(suite) for suite in suites],
    }


def _commit(checkout: Path) -> str:
    asked = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], stdout=subprocess.PIPE, check=False)
    return asked.stdout.decode("ascii").strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
