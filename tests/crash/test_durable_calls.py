"""The places are found whatever writes: a helper that is new, the second call in a function, a block's end."""

from __future__ import annotations

from pathlib import Path

from tests.crash.switch.durable_calls import DURABLE_MODULE, durable_calls, durable_functions, name_of_call

HELPERS = """
def whole_file(path):
    with open(path, "xb") as file:
        yield file
    os.replace(aside, path)

def write_lines(path, lines):
    _write(path, lines)

def _write(path, lines):
    whole_file(path)

def flush(folder):
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)

def encode(value):
    return str(value).replace("a", "b")
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
        flush(path)
        path.rename(path)
        os.rename(path, path)
"""


def test_every_call_has_a_name_and_lines(tmp_path: Path) -> None:
    durable, writer = tmp_path / DURABLE_MODULE, tmp_path / "writer.py"
    durable.parent.mkdir()
    durable.write_text(HELPERS)
    writer.write_text(WRITER)
    assert durable_functions(durable) == {"whole_file", "write_lines"}
    assert durable_calls(writer, tmp_path) == (
        ("write", "write_lines", 4, 4),
        ("write", "whole_file", 6, 8),
        ("write", "write_lines#2", 10, 13),
        ("write", "rename", 15, 15),
        ("write", "rename#2", 16, 16),
    )
    assert name_of_call(writer, tmp_path, "write", "write_lines", 12) == "write_lines#2"
    assert name_of_call(writer, tmp_path, "write", "whole_file", 6) == "whole_file"
    assert name_of_call(writer, tmp_path, "write", "whole_file", 10) == "whole_file#0"
