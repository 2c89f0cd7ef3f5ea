"""`make bench`: what each benchmark is given, and what the commands that it starts need of each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks import demo, step_contenders, training_step
from benchmarks.cached_run import PREFECT
from benchmarks.timing import machine, processor_kind
from podsquad.command.run import prepare_prefect
from podsquad.config.settings import Settings


def test_the_demo_is_run_once_and_what_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: dict[str, list[str]] = {}

    def run(module: str, arguments: list[str], seconds: float) -> str:
        assert 0 < seconds <= 60 * 7
        ran[module] = arguments
        return "time ran out" if module == "metric" else ""

    monkeypatch.setattr(bench, "_run", run)
    monkeypatch.setattr(bench, "write_table", lambda: "the table")
    monkeypatch.setattr(bench, "IPU_PYTHON", Path(sys.executable))
    nowhere = ["--squad", str(tmp_path / "none"), "--tokenizer", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", ["bench", "--minutes", "7", *nowhere])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    for module in ("metric (time ran out)", *(f"{name} (it needs" for name in bench.WITH_TEXT)):
        assert module in str(ended.value)
    assert "the table" in capsys.readouterr().out
    assert set(ran) == {*bench.MODULES, *bench.BESIDE_THE_TABLE} - set(bench.WITH_TEXT)
    order = [module for module in ran if any("--folder" in argument for argument in ran[module])]
    assert order == ["demo", "cached_run", "unchanged_run"]  # the first makes it
    (folder,) = {argument for module in order for argument in ran[module] if "--folder" in argument}
    assert not Path(folder.partition("=")[2]).parent.exists()  # nothing stays


def test_the_run_that_is_kept_is_the_profile_s_own() -> None:
    seeds = bench.FEWER["demo"]
    own = Settings()
    assert demo.SEEDS[0] == int(seeds[seeds.index("--seeds") + 1]) == own.data.demo_seed == own.training.seed


def test_both_flows_get_the_settings_that_podsquad_makes(tmp_path: Path) -> None:
    made = {"PREFECT_HOME": str(tmp_path)}
    prepare_prefect(made)
    assert made.items() >= PREFECT.items()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux tells")
def test_a_machine_tells_the_kind_of_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine()["kind"] == processor_kind()
    kinds = []
    for family, model, flag in ((25, 17, "avx512f"), (26, 2, "amx_tile")):
        told = f"vendor_id\t: AuthenticAMD\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        told += f"model name\t: AMD EPYC\nflags\t\t: fpu avx2 fma {flag}\n"
        monkeypatch.setattr(Path, "read_text", lambda *_, told=told, **__: told)
        kinds.append(processor_kind())
    assert kinds == [
        "AuthenticAMD family 25 model 17 avx2 fma avx512f",
        "AuthenticAMD family 26 model 2 avx2 fma amx_tile",
    ]


def test_a_batch_of_the_trainer_is_tried_by_more_than_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_trainer(folder: Path, precision: str, per_device: int, num_steps: int) -> list[tuple[float, float]]:
        asked.append((precision, per_device, num_steps))
        return [(100.0, 0.0), (3.0, 0.0), (5.0, 0.0)]

    monkeypatch.setattr(step_contenders, "run_trainer", run_trainer)
    assert training_step._try(tmp_path, "float32", 8) == 4.0  # without the first, which lays out memory
    assert asked == [("float32", 8, 3)]
