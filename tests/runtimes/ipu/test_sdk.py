"""Versions that fit together, and what is done without an SDK."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from podsquad.errors import SettingsError
from podsquad.runtimes.emulator import PACKAGES
from podsquad.runtimes.ipu.sdk import PINNED, Sdk, check_pinned, check_versions, load_sdk

IPU = {"pod": "pod16", "bias_correction": True}


@pytest.mark.parametrize(
    ("poptorch", "torch", "sdk"),
    [
        ("3.4.0", "2.0.1", "3.4"),
        ("3.3.0+113432_960e9c294b", "2.0.1+cpu", "3.3"),
    ],
)
def test_versions_that_fit(poptorch: str, torch: str, sdk: str) -> None:
    assert check_versions(poptorch, torch) == sdk


def test_another_torch_is_refused_with_the_one_that_fits() -> None:
    with pytest.raises(SettingsError, match=r"poptorch 3\.3\.0 needs torch 2\.0\.1, but torch 2\.13\.0") as caught:
        check_versions("3.3.0", "2.13.0")
    assert "torch==2.0.1" in caught.value.do


@pytest.mark.parametrize(
    ("poptorch", "torch"),
    [("9.9.0", "2.0.1"), ("3.2.1", "1.13.1"), ("2.3.0", "1.10.0")],
    ids=["unknown", "of an older torch", "before the bias correction"],
)
def test_another_sdk_is_refused(poptorch: str, torch: str) -> None:
    with pytest.raises(SettingsError, match=r"of no SDK that podsquad was written for: 3\.4, 3\.3"):
        check_versions(poptorch, torch)


def test_what_is_pinned_is_what_the_environment_is_made_of() -> None:
    lines = (Path(__file__).resolve().parents[3] / "constraints-ipu.txt").read_text().splitlines()
    assert {f"{name}=={version}" for name, version in PINNED.items()} <= set(lines)


def test_another_optimum_graphcore_is_refused_with_the_one_that_fits() -> None:
    check_pinned(PINNED, "python", is_emulated=False)
    with pytest.raises(SettingsError, match=r"needs optimum-graphcore 0\.7\.1, but .* 0\.6\.0") as caught:
        check_pinned({**PINNED, "optimum-graphcore": "0.6.0"}, "python", is_emulated=False)
    assert caught.value.do.endswith("python -m pip install --requirement constraints-ipu.txt")


def test_without_an_sdk_both_ways_out_are_named() -> None:
    with pytest.raises(SettingsError, match="no poptorch") as caught:
        load_sdk({"emulated": False}, IPU)
    assert "docker/ipu.Dockerfile" in caught.value.do
    assert "--profile pod16-emulated" in caught.value.do


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))


def test_a_real_poptorch_is_not_shadowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poptorch.py").write_text("")
    put_on_path(tmp_path, monkeypatch)
    before = list(sys.path)
    with pytest.raises(SettingsError, match="the emulator does not take its place"):
        load_sdk({"emulated": True}, IPU)
    assert sys.path == before


def test_an_emulation_on_the_path_is_not_taken_for_a_real_poptorch(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_path(PACKAGES, monkeypatch)
    with pytest.raises(SettingsError, match="the runtime ipu has no poptorch"):
        load_sdk({"emulated": False}, IPU)
    with pytest.raises(SettingsError, match="is an emulation") as caught:  # nor one that lies elsewhere
        check_versions("3.3.0+emulated", "2.0.1")
    assert "pod16-emulated" in caught.value.do


def test_what_lacks_beside_a_real_poptorch_is_installed_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poptorch.py").write_text("")
    put_on_path(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "poptorch", ModuleType("poptorch"))
    monkeypatch.setitem(sys.modules, "optimum", None)
    with pytest.raises(SettingsError, match="cannot be loaded") as caught:
        load_sdk({"emulated": False}, IPU)
    assert caught.value.do.endswith(f"{sys.executable} -m pip install --requirement constraints-ipu.txt")


def test_an_sdk_that_is_not_activated_is_told_how_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poptorch.py").write_text("raise ImportError('libpoplar.so: cannot open shared object file')")
    put_on_path(tmp_path, monkeypatch)
    monkeypatch.delitem(sys.modules, "poptorch", raising=False)
    with pytest.raises(SettingsError, match=r"cannot be imported: libpoplar\.so") as caught:
        load_sdk({"emulated": False}, IPU)
    assert "enable.sh" in caught.value.do


def test_an_emulated_device_says_so() -> None:
    assert "emulated" in Sdk(True, {}).device_name(16)
    assert Sdk(False, {}).device_name(16) == "16 Graphcore IPUs"
