"""The protocol with runtimes: a job file is an order or refused; a stream of events is events or a broken protocol."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from podsquad.errors import DataError, InternalError, PodsquadError
from podsquad.runtimes.job import VERBS, Job
from podsquad.runtimes.launch import _failure, _read_events
from podsquad.stages.builders import _tell
from tests.hostile.budget import hostile
from tests.hostile.inputs import READABLE, damaged_bytes, damaged_json, damaged_value, odd_bytes
from tests.stages.fakes import Told

JOB: Any = {
    "verb": "train",
    "inputs": {"features": "/store/tokenize/1", "executable": "/store/compile/2"},
    "output": "/store/train/.staging/3.1",
    "work": "/store/train/.work/3.1",
    "settings": {"training": {"epochs": 1, "learning_rate": 1e-3}, "runtime": {"device": "cpu"}},
}
EVENTS: tuple[Any, ...] = (
    {"event": "log", "level": "info", "message": "hello"},
    {"event": "progress", "step": 3, "total_steps": 10, "loss": 1.5, "learning_rate": 1e-3, "seconds_left": 4},
    {"event": "checkpoint", "step": 3},
    {"event": "decision", "name": "compiled", "value": True, "reason": "it is faster"},
    {"event": "failure", "error": "DataError", "what": "it is bad", "why": "a byte", "do": "mend it"},
)  # fmt: skip
NESTED_EVENT = b'{"event": "decision", "value": %s}' % (b"[" * READABLE + b"]" * READABLE)


@hostile("job file", content=damaged_json(JOB))
def test_a_job_file_is_an_order_or_refused(tmp_path_factory: Any, content: bytes) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "job.json"
    path.write_bytes(content)
    try:
        job = Job.read(path)
    except DataError as error:
        assert "job file" in error.what
        return
    assert job.verb in VERBS
    assert all(isinstance(text, str) for text in (job.output, job.work, *job.inputs.values()))
    assert isinstance(job.settings, dict)


@st.composite
def streams(draw: Any) -> bytes:
    lines = []
    for event in draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=3)):
        kind = draw(st.integers(0, 5))
        content = json.dumps(event if kind < 2 else draw(damaged_value(event))).encode()
        lines.append(draw(damaged_json(event)) if kind == 5 else draw(damaged_bytes(content)) if kind == 1 else content)
    if draw(st.booleans()):
        lines.insert(0, draw(odd_bytes | st.just(NESTED_EVENT)))
    marked = draw(st.booleans())
    return b"\n".join(b"[1,0]<stdout>:" * marked + line for line in lines) + b"\n" * draw(st.booleans())


@hostile("event stream", content=streams(), is_launched=st.booleans())
def test_a_stream_is_events_or_a_broken_protocol(content: bytes, is_launched: bool) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as stream:
        os.write(writer, content[:60_000])  # a pipe of Linux takes as much at once
        os.close(writer)
        child: Any = SimpleNamespace(stdout=stream, poll=lambda: 0)
        told = Told()
        try:
            for event in _read_events(child, "torch", 60.0, is_launched=is_launched):
                if event["event"] == "failure":
                    failure = _failure(event)
                    assert isinstance(failure, PodsquadError)
                    assert failure.what
                    str(failure)
                    break
                _tell(told, event)
        except InternalError as error:
            assert "no event" in error.what
