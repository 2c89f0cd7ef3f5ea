"""Execution strategies: how blocks become stages, phases and IPUs.

A strategy hands out a ``StageManager`` for each trace; the manager learns of every block that begins and keeps the
order, so that the compiler can count IPUs and pipeline stages.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from ._logging import logger
from .enums import AutoStage, Liveness


class Stage:
    """Blocks that run together; ``ipu`` says where."""

    def __init__(self, *block_ids: str) -> None:
        assert all(isinstance(block, str) for block in block_ids), (
            "Block IDs are supposed to be strings but got {}".format(block_ids)
        )
        self._blocks = block_ids
        self._stage_id = -1
        self._phase_id = -1
        self._ipu: Optional[int] = None

    @property
    def blocks(self) -> tuple[str, ...]:
        """The ids of the blocks."""
        return self._blocks

    def ipu(self, ipu: int) -> Stage:
        """Place the stage on an IPU of the replica."""
        assert isinstance(ipu, int)
        self._ipu = ipu
        return self


class Phase:
    """Stages that run at the same time."""

    def __init__(self, *arg: Union[str, Stage]) -> None:
        self.stages: list[Stage]
        if all(isinstance(part, Stage) for part in arg):
            self.stages = [part for part in arg if isinstance(part, Stage)]
        else:
            assert all(isinstance(part, str) for part in arg), (
                "All arguments must either be block IDs (strings) or Stages: " + str([type(part) for part in arg])
            )
            self.stages = [Stage(*[part for part in arg if isinstance(part, str)])]

    def stage(self, idx: int) -> Stage:
        """One of the stages."""
        return self.stages[idx]

    def ipus(self, *ipus: int) -> None:
        """Place the stages, in their order."""
        assert len(ipus) == len(self.stages), "Phase contains {} stages but you provided {} ipus".format(
            len(self.stages), len(ipus)
        )
        for stage, ipu in zip(self.stages, ipus):
            stage.ipu(ipu)


class StageManager:
    """Turns blocks into stages while a model is traced.

    ``placements`` is the record of (stage, phase, IPU) in the order of the trace.
    """

    def __init__(self, block_map: dict[str, Stage], auto_stage: AutoStage) -> None:
        self._explicit = dict(block_map)
        self._automatic: dict[str, Stage] = {}
        self._auto_stage = auto_stage
        self._next_stage = 1
        self._next_auto_id = 0
        self.placements: list[tuple[int, int, int]] = []

    def nextAutoId(self) -> str:
        """An id for a block that has none."""
        self._next_auto_id += 1
        return str(self._next_auto_id - 1)

    def resetAutoId(self) -> None:
        """Begin to count such ids anew."""
        self._next_auto_id = 0

    def beginStage(self, user_id: Optional[str], ipu_id: Optional[int]) -> None:
        """Note that what follows belongs to a block. Raises AssertionError for a block that the strategy lacks."""
        user_id = user_id or self.nextAutoId()
        stage = self._stage(user_id, ipu_id)
        ipu = stage._ipu if stage._ipu is not None else ipu_id
        if ipu is None:
            logger.debug("No IPU specified for block %s: default to stage_id %d", user_id, stage._stage_id)
            ipu = stage._stage_id
        logger.debug("Starting block id=%s stage=%d phase=%d ipu=%d", user_id, stage._stage_id, stage._phase_id, ipu)
        self.placements.append((stage._stage_id, stage._phase_id, ipu))

    def _stage(self, user_id: str, ipu_id: Optional[int]) -> Stage:
        if self._explicit:
            assert user_id in self._explicit, "Unknown Block '{}' list of expected Blocks: {}".format(
                user_id, list(self._explicit)
            )
            return self._explicit[user_id]
        if user_id not in self._automatic:
            stage = Stage(user_id)
            if self._auto_stage == AutoStage.SameAsIpu:
                assert ipu_id is not None, (
                    "poptorch.AutoStage.SameAsIpu was selected but no IPU was specified for block {}".format(user_id)
                )
                stage._stage_id = ipu_id
            else:
                stage._stage_id = self._next_stage
                self._next_stage += 1
            self._automatic[user_id] = stage
        return self._automatic[user_id]


class ExecutionStrategy:
    """What all strategies share: the map from blocks to stages."""

    def __init__(self, block_map: dict[str, Stage], auto_stage: AutoStage) -> None:
        self._block_map = block_map
        self._auto_stage = auto_stage

    def stage(self, block_id: str) -> Stage:
        """The stage of a block. Raises AssertionError for an unknown one."""
        assert block_id in self._block_map, "Unknown block {}".format(block_id)
        return self._block_map[block_id]

    def manager(self) -> StageManager:
        """A fresh manager for one trace."""
        return StageManager(self._block_map, self._auto_stage)

    def backendOptions(self) -> dict[str, Any]:
        """The strategy as options of the compiler."""
        return {}


def _add_blocks(block_map: dict[str, Stage], stage: Stage, where: str) -> None:
    for block in stage.blocks:
        assert block not in block_map, "{} associated with more than one stage".format(block)
        placed = " on IPU {}".format(stage._ipu) if stage._ipu is not None else ""
        logger.debug("block %s added to %s%s", block, where, placed)
        block_map[block] = stage


class PipelinedExecution(ExecutionStrategy):
    """Stages work on different micro-batches at the same time. Takes stages, block ids, lists of them, or AutoStage."""

    def __init__(self, *args: Any) -> None:
        block_map: dict[str, Stage] = {}
        auto_stage = AutoStage.SameAsIpu
        if len(args) == 1 and isinstance(args[0], AutoStage):
            auto_stage = args[0]
        else:
            for stage_id, arg in enumerate(args):
                blocks = () if isinstance(arg, Stage) else (arg,) if isinstance(arg, str) else arg
                stage = arg if isinstance(arg, Stage) else Stage(*blocks)
                stage._stage_id = stage_id
                _add_blocks(block_map, stage, "stage {}".format(stage_id))
        super().__init__(block_map, auto_stage)

    def backendOptions(self) -> dict[str, Any]:
        return {"execution_mode": 0}


class ShardedExecution(PipelinedExecution):
    """Stages work one after another."""

    def backendOptions(self) -> dict[str, Any]:
        return {"execution_mode": 1}


class PhasedExecution(ExecutionStrategy):
    """Phases run one after another, their tensors off chip in between. Base of the serial and the parallel one."""

    def __init__(self, *phases: Any) -> None:
        self._tensors_liveness = Liveness.AlwaysLive
        self._separate_backward_phase = False
        self._phases: list[Phase] = []
        block_map: dict[str, Stage] = {}
        for phase_id, given in enumerate(phases):
            phase = given if isinstance(given, Phase) else Phase(*(given if isinstance(given, list) else [given]))
            self._phases.append(phase)
            for stage in phase.stages:
                stage._phase_id = phase_id
                _add_blocks(block_map, stage, "phase {}".format(phase_id))
        assert phases, "There is currently no AutoStage for PhasedExecution, please explicitly specify the phases"
        super().__init__(block_map, AutoStage.SameAsIpu)

    def phase(self, phase: int) -> Phase:
        """One of the phases."""
        assert isinstance(phase, int) and phase >= 0, "Phases are identified by positive integers"
        return self._phases[phase]

    def useSeparateBackwardPhase(self, use: bool = True) -> PhasedExecution:
        """Give the backward pass a phase of its own."""
        assert isinstance(use, bool)
        self._separate_backward_phase = use
        return self

    def backendOptions(self) -> dict[str, Any]:
        return {
            "execution_mode": 2,
            "separate_backward_phase": self._separate_backward_phase,
            "tensors_liveness": self._tensors_liveness.value,
        }


class ParallelPhasedExecution(PhasedExecution):
    """Two groups of IPUs take turns."""

    def backendOptions(self) -> dict[str, Any]:
        return {**super().backendOptions(), "serial_phases_execution": False}

    def sendTensorsOffChipAfterFwd(self, off_chip: bool = True) -> ParallelPhasedExecution:
        """Send tensors off chip at the end of the forward pass."""
        assert isinstance(off_chip, bool)
        self._tensors_liveness = Liveness.OffChipAfterFwd if off_chip else Liveness.AlwaysLive
        return self


class SerialPhasedExecution(PhasedExecution):
    """All IPUs run the same phase."""

    def setTensorsLiveness(self, liveness: Liveness) -> SerialPhasedExecution:
        """Say how long tensors stay on chip."""
        assert isinstance(liveness, Liveness)
        self._tensors_liveness = liveness
        return self

    def backendOptions(self) -> dict[str, Any]:
        return {**super().backendOptions(), "serial_phases_execution": True}
