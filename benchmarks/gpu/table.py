"""The table that the benchmark ends with."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.recipe import (
    DIFFERS,
    PEAK_FLOPS,
    PEAK_SOURCE,
    POD16_SAMPLES_PER_SECOND,
    POD16_SECONDS,
    POD16_SOURCE,
)

GOAL_SECONDS, STRETCH_SECONDS, PREDICTION_SECONDS = 40.0, 33.0, 2.0
FALLS_SHORT = "falls short"
_HEAD = ("training", "seconds", "samples/s", "of 790 TFLOP/s", "against the POD16", "peak memory")


def make_table(result: dict[str, Any]) -> str:
    """Return the lines: POD16, podsquad, the peer, the goals, and what differs from the reference's recipe."""
    is_whole = not result.get("small", True) and result.get("device") == "cuda"
    rows = [_HEAD, ("POD16 (16 IPUs)", f"{POD16_SECONDS}", f"{POD16_SAMPLES_PER_SECOND}", "", "1.00 x", "")]
    job, peer = result.get("job", {}), result.get("peer", {})
    for name, found, seconds in (
        ("podsquad", job, "training_seconds"),
        (peer.get("peer", "peer"), peer, "training_seconds_extrapolated"),
    ):
        if seconds not in found:
            rows.append((name, _why_not(found), "", "", "", ""))
            continue
        rate = found["tflop_per_second_of_real_tokens"]
        memory = found["peak_device_memory_mib"]
        rows.append(
            (
                name,
                f"{found[seconds]:.1f}",
                f"{found['samples_per_second']:.0f}",
                f"{rate * 1e12 / PEAK_FLOPS:.1%}" if is_whole else "",
                f"{POD16_SECONDS / found[seconds]:.2f} x" if is_whole else "",
                f"{memory:,.0f} MiB" if memory else "",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += _goals(job) if is_whole else ["a small run, or none on a GPU: nothing here says how fast a GPU is"]
    lines += [f"POD16: {POD16_SOURCE}", f"790 TFLOP/s: {PEAK_SOURCE}; counted are the operations of real tokens"]
    return "\n".join([*lines, "beside the reference's recipe:", *(f"  - {line}" for line in DIFFERS)])


def _goals(job: dict[str, Any]) -> list[str]:
    """Return a line per goal, with the words "falls short" where it does."""
    if "training_seconds" not in job:
        return [f"the job: {_why_not(job)}"]
    seconds, prediction = job["training_seconds"], job["prediction"]["prediction_and_scoring_seconds"]
    goals = (
        (f"2 epochs in at most {GOAL_SECONDS:.0f} s", seconds, GOAL_SECONDS),
        (f"the stretch, {STRETCH_SECONDS:.0f} s", seconds, STRETCH_SECONDS),
        (f"prediction and scoring in at most {PREDICTION_SECONDS:.0f} s", prediction, PREDICTION_SECONDS),
    )
    return [f"{what}: {found:.2f} s{'' if found <= most else ', ' + FALLS_SHORT}" for what, found, most in goals]


def _why_not(found: dict[str, Any]) -> str:
    return str(found.get("error") or found.get("refused") or "not run")[:120]
