"""The tree of errors: drawn as it is, told in three parts, and carried whole through a pickle-like copy."""

from __future__ import annotations

import copy
import errno
import re

import pytest

from podsquad import errors
from podsquad.errors import (
    NO_ROOM,
    RESUME,
    RETRY,
    STOP,
    DataError,
    DiskFullError,
    InternalError,
    PodsquadError,
    StoreError,
    TemporaryError,
    all_errors,
    error_named,
    from_os_error,
    os_error_of,
)


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn: dict[str, tuple[str, str, int]] = {}
    above = {0: "PodsquadError"}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ((?:│   |    )?)[├└]── (\w+) .* (retry|resume|stop) +exit (\d+)$", line):
            depth = 2 if found[1] else 1
            above[depth] = found[2]
            drawn[found[2]] = (above[depth - 1], found[3], int(found[4]))
    assert drawn == {
        kind.__name__: (kind.__base__.__name__, kind.remedy, kind.exit_code)
        for kind in all_errors()
        if kind.__base__ and kind is not PodsquadError and kind.__module__ == errors.__name__
    }


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
def test_the_exit_code_tells_the_remedy(kind: type[PodsquadError]) -> None:
    remedies = {RESUME: (73, 74), RETRY: (75,), STOP: range(64, 71)}
    assert kind.exit_code in remedies[kind.remedy]
    assert kind("what").heals == (kind.exit_code == 75)


@pytest.mark.parametrize(
    ("why", "do", "text"),
    [("", "", "what"), ("w", "", "what\nWhy: w"), ("", "d", "what\nDo: d"), ("w", "d", "what\nWhy: w\nDo: d")],
)
def test_an_error_is_told_in_up_to_three_lines(why: str, do: str, text: str) -> None:
    assert str(DataError("what", why=why, do=do)) == text


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
def test_a_copy_keeps_kind_and_parts(kind: type[PodsquadError]) -> None:
    error = copy.copy(kind("what", why="why", do="do"))
    assert type(error) is kind
    assert (error.what, error.why, error.do) == ("what", "why", "do")


def test_errors_are_found_by_name() -> None:
    assert all(error_named(kind.__name__) is kind for kind in all_errors())
    assert error_named("ValueError") is error_named("") is InternalError


@pytest.mark.parametrize(
    ("number", "why"),
    [(errno.ENOSPC, "the disk or the quota"), (errno.EDQUOT, "the disk or the quota"), (errno.EFBIG, "ulimit -f")],
)
def test_a_full_disk_is_named_with_its_place(number: int, why: str) -> None:
    error = from_os_error(OSError(number, "full", "/data/x"), "writing")
    assert type(error) is DiskFullError
    assert why in error.why
    assert error.what == "no space left for /data/x while writing"
    assert "free some space" in error.do
    assert from_os_error(OSError(number, "full"), "writing").what == "no space left for the place while writing"


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EACCES, "this user may not write there"),
        (errno.EPERM, "this user may not write there"),
        (errno.EROFS, "the file system is mounted read-only"),
        (errno.ENOTDIR, "a part of that path is a file, not a folder"),
        (errno.ENOENT, "it is not there, or was removed meanwhile"),
        (errno.EIO, f"the operating system refused (errno {errno.EIO})"),
    ],
)
def test_other_refusals_are_store_errors(number: int, why: str) -> None:
    error = from_os_error(OSError(number, "text", "/data/x"), "writing")
    assert type(error) is StoreError
    assert (error.what, error.why) == ("cannot use /data/x while writing: text", why)
    assert "store.path" in error.do


def test_what_is_not_there_is_so_without_its_name_too() -> None:
    error = from_os_error(FileNotFoundError(errno.ENOENT, "No such file or directory"), "loading")
    assert (error.what, error.why) == (
        "cannot use the place while loading: No such file or directory",
        "it is not there, or was removed meanwhile",
    )


def test_a_temporary_folder_that_is_nowhere_is_no_path_that_was_removed() -> None:
    error = from_os_error(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "working")
    assert "found in ['/tmp']" in error.what
    assert error.why == "none of these can be written to: full, read-only, or not there"


@pytest.mark.parametrize("number", NO_ROOM, ids=errno.errorcode.get)
def test_a_host_without_room_may_have_some_later(number: int) -> None:
    error = from_os_error(OSError(number, "text", "/data/x"), "writing")
    assert type(error) is TemporaryError
    assert error.what == "the host has no room while writing: text"


@pytest.mark.parametrize(
    "raised", [ConnectionResetError(104, "reset"), TimeoutError("late"), ConnectionError()], ids=repr
)
def test_a_connection_that_fails_may_heal(raised: OSError) -> None:
    error = from_os_error(raised, "downloading")
    assert type(error) is TemporaryError
    assert error.what.startswith("a connection failed while downloading: ")
    assert not error.what.endswith(": ")


def test_an_os_error_that_no_system_raised_is_not_the_store_s_fault() -> None:
    error = from_os_error(OSError("We couldn't connect to 'https://huggingface.co'"), "running the job")
    assert type(error) is InternalError
    assert error.what == "OSError while running the job: We couldn't connect to 'https://huggingface.co'"


def test_a_library_s_words_tell_the_operating_system_s_error() -> None:
    refusal = os_error_of(Exception("I/O error: No space left on device (os error 28)"), "/data/x")
    assert refusal
    assert (refusal.errno, refusal.filename) == (errno.ENOSPC, "/data/x")
    own = OSError(errno.EIO, "text")
    assert os_error_of(own) is own
    assert os_error_of(ValueError("os error of no number")) is None
    assert os_error_of(DataError("a file (os error 28)")) is None


@pytest.mark.parametrize(
    "variable", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"]
)
def test_no_token_is_in_an_error_whoever_repeats_it(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "of-another-kind-0123")
    by_form = "hf_" + "aB3" * 11
    error = DataError(f"{by_form} of", why="it said of-another-kind-0123", do=f"set {variable}, not {by_form}")
    assert error.args == (error.what,) == ("hf_*** of",)
    assert str(error) == f"hf_*** of\nWhy: it said ***\nDo: set {variable}, not hf_***"


def test_words_that_begin_like_a_token_stay() -> None:
    words = "hf_hub_download, hf_transfer, HF_HUB_OFFLINE and HF_TOKEN"
    assert DataError(words).what == words
