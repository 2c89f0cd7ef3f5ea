"""The places are found whatever writes: a helper that is new, the second call in a function, a block's end."""

from __future__ import annotations

from pathlib import Path

import pytest

from podsquad.store import durable
from tests.crash.switch.durable_calls import (
    DURABLE_MODULE,
    WRITE_NOTHING,
    durable_calls,
    durable_functions,
    name_of_call,
)

HELPERS = """
def write_anyhow(path):
    path.write_bytes(b"")

def write_lines(path, lines):
    _write(path, lines)

@contextmanager
def whole_file(path):
    yield None

def flush_folder(folder):
    os.fsync(os.open(folder, os.O_RDONLY))

def _write(path, lines):
    os.replace(path, path)
"""
WRITER = """
class Report:
    def write(self, path):
        write_lines(path, [])
        text = "x".replace("x", "y")
        with whole_file(
            path
        ) as file:
            file.write(text)
        write_lines(
            path,
            [],
        )
        flush_folder(path)
        path.rename(path)
        os.rename(path, path)
        durable.write_anyhow(path)
        path.write_anyhow(path)
        shutil.move(path, path)
"""


def test_every_call_has_a_name_and_lines(tmp_path: Path) -> None:
    helpers, writer = tmp_path / DURABLE_MODULE, tmp_path / "writer.py"
    helpers.parent.mkdir()
    helpers.write_text(HELPERS)
    writer.write_text(WRITER)
    assert durable_functions(helpers) == {"write_anyhow", "write_lines", "whole_file"}
    assert durable_calls(writer, tmp_path) == (
        ("write", "write_lines", 4, 4),
        ("write", "whole_file", 6, 8),
        ("write", "write_lines#2", 10, 13),
        ("write", "rename", 15, 15),
        ("write", "rename#2", 16, 16),
        ("write", "write_anyhow", 17, 17),
        ("write", "move", 19, 19),
    )
    assert name_of_call(writer, tmp_path, "write", "write_lines", 12) == "write_lines#2"
    assert name_of_call(writer, tmp_path, "write", "whole_file", 6) == "whole_file"
    assert name_of_call(writer, tmp_path, "write", "whole_file", 10) == "whole_file#0"


@pytest.mark.parametrize(
    "line",
    [
        "from store.durable import write_lines as put",
        "from store.durable import flush_folder, write_lines as put",
        "from store import durable as store",
        "import store.durable as store",
        "import os as put",
        "from os import replace",
        "from shutil import copy, move as put",
    ],
)
def test_another_name_for_a_durable_function_is_refused(tmp_path: Path, line: str) -> None:
    helpers, writer = tmp_path / DURABLE_MODULE, tmp_path / "writer.py"
    helpers.parent.mkdir()
    helpers.write_text(HELPERS)
    writer.write_text(f"def write():\n    {line}\n")
    with pytest.raises(ValueError, match=r"writer\.py imports .*(as put|as store|from os|from shutil) in line 2"):
        durable_calls(writer, tmp_path)


def test_what_is_said_to_write_nothing_is_a_function_of_the_module() -> None:
    assert {name for name in WRITE_NOTHING if not callable(getattr(durable, name, None))} == set()
