"""Execution strategies: how blocks become stages, phases and IPUs.

A strategy is a plan: which block runs where. While a model is traced a ``Placer`` follows the plan, block by block as
they begin, and keeps what it found, so that the compiler can count IPUs and pipeline stages.
"""

from __future__ import annotations

from typing import Any, ClassVar, Iterable, Optional, Union

from ._logging import logger
from .enums import AutoStage, Liveness
from .option_kit import need

_NOWHERE = -1  # the number of a stage or phase that a strategy has not given


class Stage:
    """Blocks that run together. ``number``, ``phase_number`` and ``on_ipu`` say when and where, once known."""

    number = phase_number = _NOWHERE
    on_ipu: Optional[int] = None

    def __init__(self, *block_ids: str) -> None:
        for block_id in block_ids:
            need("a stage's block id", block_id, str)
        self.blocks = block_ids

    def ipu(self, ipu: int) -> Stage:
        """Place the stage on an IPU of the replica."""
        need("Stage.ipu", ipu, int)
        self.on_ipu = ipu
        return self


class Phase:
    """Stages that run at the same time; made of stages, or of the ids of blocks that make a single one."""

    def __init__(self, *arg: Union[str, Stage]) -> None:
        given = {isinstance(part, Stage) for part in arg}
        assert len(given) < 2, "a phase is made of stages or of block ids, not of both"
        self.stages: list[Any] = list(arg) if given != {False} else [Stage(*arg)]  # type: ignore[arg-type]

    def stage(self, idx: int) -> Stage:
        """One of the stages."""
        return self.stages[idx]

    def ipus(self, *ipus: int) -> None:
        """Place the stages, in their order."""
        assert len(ipus) == len(self.stages), "Phase.ipus names one IPU for each of the {} stages, not {}".format(
            len(self.stages), len(ipus)
        )
        for place, stage in zip(ipus, self.stages):
            stage.ipu(place)


class Placer:
    """Finds the place of each block that begins while a model is traced.

    ``placements`` is the record of (stage, phase, IPU) in the order of the trace.
    """

    def __init__(self, plan: dict[str, Stage], auto_stage: AutoStage) -> None:
        self._plan = dict(plan)
        self._is_complete = bool(plan)
        self._auto_stage = auto_stage
        self._count = 0
        self.placements: list[tuple[int, int, int]] = []

    def new_id(self) -> str:
        """An id for a block that has none: these count from 0."""
        self._count += 1
        return str(self._count - 1)

    def count_anew(self) -> None:
        """Begin to count such ids from 0 again."""
        self._count = 0

    def begin(self, user_id: Optional[str], ipu_id: Optional[int]) -> None:
        """Note that what follows belongs to a block. Raises AssertionError for a block that the strategy lacks."""
        block_id = user_id or self.new_id()
        if not self._is_complete and block_id not in self._plan:
            self._plan[block_id] = self._automatic(block_id, ipu_id)
        assert block_id in self._plan, "the strategy has no block {!r}; it has {}".format(
            block_id, ", ".join(sorted(self._plan))
        )
        stage = self._plan[block_id]
        named = [ipu for ipu in (stage.on_ipu, ipu_id, stage.number) if ipu is not None]
        place = (stage.number, stage.phase_number, named[0])
        logger.debug("block %s begins: stage %d, phase %d, IPU %d", block_id, *place)
        self.placements.append(place)

    def _automatic(self, block_id: str, ipu_id: Optional[int]) -> Stage:
        """A stage of its own for a block that no plan names."""
        made = Stage(block_id)
        if self._auto_stage == AutoStage.AutoIncrement:
            made.number = len(self._plan) + 1
        else:
            assert ipu_id is not None, "AutoStage.SameAsIpu wants an IPU for each block, {} has none".format(block_id)
            made.number = ipu_id
        return made


class ExecutionStrategy:
    """What all strategies share: the plan from blocks to stages, and the compiler's number of the mode."""

    mode: ClassVar[int]

    def __init__(self, auto_stage: AutoStage) -> None:
        self._plan: dict[str, Stage] = {}
        self._auto_stage = auto_stage

    def _add(self, stage: Stage, where: str) -> None:
        for block_id in stage.blocks:
            assert block_id not in self._plan, "block {} has a stage already, and is in {} too".format(block_id, where)
            logger.debug("block %s is in %s, IPU %s", block_id, where, stage.on_ipu)
            self._plan[block_id] = stage

    def stage(self, block_id: str) -> Stage:
        """The stage of a block. Raises AssertionError for an unknown one."""
        found = self._plan.get(block_id)
        assert found is not None, "the strategy has no block {!r}".format(block_id)
        return found

    def placer(self) -> Placer:
        """Make one for a trace."""
        return Placer(self._plan, self._auto_stage)

    def compiler_options(self) -> dict[str, Any]:
        """The strategy as options of the compiler."""
        return {"execution_mode": self.mode}


class PipelinedExecution(ExecutionStrategy):
    """Stages work on different micro-batches at the same time. Takes stages, block ids, lists of them, or AutoStage."""

    mode = 0

    def __init__(self, *args: Any) -> None:
        how = args[0] if len(args) == 1 and isinstance(args[0], AutoStage) else None
        super().__init__(AutoStage.SameAsIpu if how is None else how)
        for number, given in enumerate(args if how is None else ()):
            stage = given if isinstance(given, Stage) else Stage(*_listed(given))
            stage.number = number
            self._add(stage, "stage {}".format(number))


class ShardedExecution(PipelinedExecution):
    """Stages work one after another."""

    mode = 1


class PhasedExecution(ExecutionStrategy):
    """Phases run one after another, their tensors off chip in between. Base of the serial and the parallel one."""

    mode = 2
    is_serial: ClassVar[Optional[bool]] = None

    def __init__(self, *phases: Any) -> None:
        assert phases, "phased execution has no automatic stages: name its phases"
        super().__init__(AutoStage.SameAsIpu)
        self._told = {"separate_backward_phase": False, "tensors_liveness": int(Liveness.AlwaysLive)}
        self._in_order = [given if isinstance(given, Phase) else Phase(*_listed(given)) for given in phases]
        for number, phase in enumerate(self._in_order):
            for stage in phase.stages:
                stage.phase_number = number
                self._add(stage, "phase {}".format(number))

    def phase(self, phase: int) -> Phase:
        """One of the phases, counted from 0."""
        assert phase in range(len(self._in_order)), "there is no phase {}: there are {}, counted from 0".format(
            phase, len(self._in_order)
        )
        return self._in_order[phase]

    def _tell(self, option: str, value: int) -> PhasedExecution:
        self._told[option] = value
        return self

    def useSeparateBackwardPhase(self, use: bool = True) -> PhasedExecution:
        """Give the backward pass a phase of its own."""
        need("useSeparateBackwardPhase", use, bool)
        return self._tell("separate_backward_phase", use)

    def compiler_options(self) -> dict[str, Any]:
        """The strategy as options of the compiler."""
        order = {} if self.is_serial is None else {"serial_phases_execution": self.is_serial}
        return {**super().compiler_options(), **self._told, **order}


class ParallelPhasedExecution(PhasedExecution):
    """Two groups of IPUs take turns."""

    is_serial = False

    def sendTensorsOffChipAfterFwd(self, off_chip: bool = True) -> PhasedExecution:
        """Send tensors off chip at the end of the forward pass."""
        need("sendTensorsOffChipAfterFwd", off_chip, bool)
        return self._tell("tensors_liveness", int(Liveness.OffChipAfterFwd if off_chip else Liveness.AlwaysLive))


class SerialPhasedExecution(PhasedExecution):
    """All IPUs run the same phase."""

    is_serial = True

    def setTensorsLiveness(self, liveness: Liveness) -> PhasedExecution:
        """Say how long tensors stay on chip."""
        need("setTensorsLiveness", liveness, Liveness)
        return self._tell("tensors_liveness", int(liveness))


def _listed(given: Union[str, Stage, Iterable[Any]]) -> list[Any]:
    return [given] if isinstance(given, (str, Stage)) else list(given)
