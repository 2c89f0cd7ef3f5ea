"""The names of popart that optimum-graphcore's configuration uses. There is no compiler behind them."""

from __future__ import annotations

import enum


class AccumulateOuterFragmentSchedule(enum.IntEnum):
    """How the compiler orders the part of the graph outside of gradient accumulation."""

    Scheduler = 0
    Serial = 1
    OverlapCycleOptimized = 2
    OverlapMemoryOptimized = 3


class SubgraphCopyingStrategy(enum.IntEnum):
    """When the compiler copies a subgraph's inputs and outputs."""

    OnEnterAndExit = 0
    JustInTime = 1
