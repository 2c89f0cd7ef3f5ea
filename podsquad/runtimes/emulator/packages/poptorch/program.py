"""A compiled model: its trace, and the loops that run it on the device's tensors."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import warnings
from typing import Any, Callable, Iterator, Optional

import torch

from . import context, loss_scaling
from ._logging import logger
from .arguments import Arguments
from .batching import BatchLayout
from .device_math import DeviceMath
from .memory import DeviceMemory
from .precision import HalfInFloat32, StochasticRounding, to_nearest
from .random_state import RandomState, host_generator_kept
from .reduction import Reduction
from .runners import Fused, OneByOne, Runner
from .structure import rebuilt
from .trace import Trace, trace
from .updates import DeviceOptimizer

# "auto": fuse micro-batches where that is proven to give the same; "off": run each by itself, the oracle.
FUSION_SWITCH = "PODSQUAD_EMULATED_FUSION"

# The most elements of input, and bytes of single gradients, that one fused run takes: activations follow the former.
_FUSED_ELEMENTS = 1 << 14
_FUSED_GRADIENT_BYTES = 1 << 28

_OUT = {torch.int64: torch.int32, torch.float64: torch.float32}


def border_in(tensor: torch.Tensor) -> torch.Tensor:
    """An input as the device takes it: int64 through int32 (and held as int64 again), float64 as float32."""
    tensor = tensor.detach()
    if tensor.dtype == torch.int64:
        return tensor.to(torch.int32).to(torch.int64)
    return tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor


def border_out(tensor: torch.Tensor) -> torch.Tensor:
    """An output as the host gets it."""
    return tensor.detach().to(_OUT.get(tensor.dtype, tensor.dtype))


class Program:
    """A model for fixed shapes, on a device's memory. Making one traces the model."""

    def __init__(self, model: Any, memory: DeviceMemory, options: Any, training: bool, compiled: Arguments) -> None:
        self._model = model
        self._memory = memory
        self._options = options
        self._compiled = compiled
        self.layout = BatchLayout.of(options, training)
        for tensor in compiled.tensors():
            self.layout.check(tensor)
        first = [border_in(self.layout.first(tensor)) for tensor in compiled.tensors()]
        with host_generator_kept(), HalfInFloat32():
            self.trace: Trace = trace(self._call, memory, first, training)
        if self.trace.written:
            memory.give_each_replica_buffers(self.layout.replicas)
        self._stochastic = bool(options._Popart.options.get("enableStochasticRounding", False))
        # Whether micro-batches run fused; False from the first call on whose code cannot be mapped.
        self.is_fused = self._may_fuse()
        self._automatic_scaling = loss_scaling.of(options) if training else None
        self.final_loss_scale = torch.tensor(math.nan)

    def _may_fuse(self) -> bool:
        switch = os.environ.get(FUSION_SWITCH, "auto")
        if switch not in ("auto", "off"):
            raise ValueError("{} must be auto or off, not {}".format(FUSION_SWITCH, switch))
        if switch == "auto" and self.trace.obstacle:
            logger.info("Micro-batches run one by one: %s", self.trace.obstacle)
        return switch == "auto" and not self.trace.obstacle

    def _call(
        self,
        tensors: list[torch.Tensor],
        streams: list[torch.Generator],
        stream: torch.Tensor,
        weights: Optional[dict[str, torch.Tensor]] = None,
        replica: int = 0,
    ) -> tuple[Any, context.Recording]:
        args, kwargs = self._compiled.with_tensors(tensors)
        made = context.Recording(self._options._execution_strategy.placer(), streams, stream)
        with self._memory.swapped_in(weights, replica), context.recording(made), DeviceMath():
            outputs = self._model(*args, **kwargs)
        return outputs, made

    def _one_by_one(
        self, tensors: list[torch.Tensor], streams: list[torch.Generator], stream: torch.Tensor
    ) -> tuple[Any, context.Recording]:
        torch.default_generator.manual_seed(streams[int(stream)].initial_seed())
        return self._call(tensors, streams, stream, None, int(stream) % self.layout.replicas)

    def _run(self, weights: dict[str, torch.Tensor], seeds: list[int], run: Callable[..., Any]) -> Any:
        """Call ``run`` with a runner and fresh streams: fused, and where the code cannot be mapped, one by one."""
        if self.is_fused:
            try:
                return run(Fused(self._call, self.trace.loss, weights), _generators(seeds))
            except (RuntimeError, ValueError) as error:
                logger.info("Micro-batches run one by one: %s", str(error).split("\n")[0])
                self.is_fused = False
        return run(OneByOne(self._one_by_one, self.trace.loss, weights), _generators(seeds))

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        with warnings.catch_warnings(), host_generator_kept():
            # torch maps some functions by a loop of its own, and tells of each.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            with HalfInFloat32() if self.trace.has_half else contextlib.nullcontext():
                yield

    def infer(self, tensors: list[torch.Tensor], random: RandomState) -> Any:
        """Run without gradients; the outputs as the options want them."""
        inputs = [self._per_replica(self.layout.split(border_in(tensor))) for tensor in tensors]
        rows: list[list[torch.Tensor]] = []
        with self._running(), torch.no_grad():
            for start, stop in self._chunks(self.layout.device_iterations, inputs, 0):
                seeds = self._seeds(random, stop - start)
                chunk = [tensor[start:stop, 0].flatten(0, 1) for tensor in inputs]
                rows += self._by_iteration(self._run({}, seeds, functools.partial(_outputs, inputs=chunk)))
        return self._gathered(rows)

    def train(self, tensors: list[torch.Tensor], random: RandomState, optimizer: DeviceOptimizer) -> Any:
        """Run with gradients: one update per device iteration; the outputs as the options want them."""
        inputs = [self._per_replica(self.layout.split(border_in(tensor))) for tensor in tensors]
        trained = {name: self._memory.weights[name] for name in self.trace.trained if name in optimizer.groups}
        rows: list[list[torch.Tensor]] = []
        with self._running():
            for iteration in range(self.layout.device_iterations):
                rounding = self._rounding(random)
                dtype = optimizer.settings.accumulator
                training = self._options.Training
                reduction = Reduction(training, self.layout.replicas, self.layout.accumulation, dtype, rounding)
                each = reduction.running or dtype == torch.float16 or _any_half(trained)
                scale = optimizer.loss_scaling()
                size = sum(w.numel() * w.element_size() for w in trained.values()) if each else 0
                for start, stop in self._chunks(self.layout.accumulation, inputs, size):
                    seeds = self._seeds(random, stop - start)
                    chunk = [tensor[iteration, start:stop].flatten(0, 1) for tensor in inputs]
                    run = functools.partial(_gradients, inputs=chunk, loss_scaling=scale, each=each)
                    outputs, gradients = self._run(trained, seeds, run)
                    rows += self._by_iteration(outputs)
                    with torch.no_grad():
                        self._reduce(reduction, gradients, each)
                with torch.no_grad():
                    optimizer.step(trained, reduction.result(), rounding)
                    self._move_scale(optimizer, scale)
        return self._gathered(rows)

    def _move_scale(self, optimizer: DeviceOptimizer, used: float) -> None:
        self.final_loss_scale = torch.tensor(used)
        if self._automatic_scaling is not None:
            self._automatic_scaling.update(optimizer.states[loss_scaling.STATE], optimizer.base_loss_scaling())

    def _reduce(self, reduction: Reduction, gradients: dict[str, torch.Tensor], each: bool) -> None:
        if self._automatic_scaling is not None:
            self._automatic_scaling.count(gradients)
        if not each:
            reduction.add_sum(gradients)
            return
        steps = {name: g.reshape((-1, self.layout.replicas, *g.shape[1:])) for name, g in gradients.items()}
        for position in range(len(next(iter(steps.values()))) if steps else 0):
            reduction.add_step({name: gradient[position] for name, gradient in steps.items()})

    def _rounding(self, random: RandomState) -> Any:
        return StochasticRounding(random.stream_seed("rounding")) if self._stochastic else to_nearest

    def _per_replica(self, split: torch.Tensor) -> torch.Tensor:
        """[iterations, steps, input groups, ...] to [iterations, steps, replicas, ...]."""
        if self.layout.input_group_size == 1:
            return split
        return split[:, :, [self.layout.input_group(replica) for replica in range(self.layout.replicas)]]

    def _chunks(self, steps: int, inputs: list[torch.Tensor], gradient_bytes: int) -> Iterator[tuple[int, int]]:
        """Ranges of steps (each with all replicas) that run at once."""
        size = max((tensor[0, 0].numel() for tensor in inputs), default=1)
        most = max(1, _FUSED_ELEMENTS // max(1, size)) if self.is_fused else 1
        if gradient_bytes:
            most = max(1, min(most, _FUSED_GRADIENT_BYTES // (gradient_bytes * self.layout.replicas)))
        for start in range(0, steps, most):
            yield start, min(steps, start + most)

    def _seeds(self, random: RandomState, steps: int) -> list[int]:
        """Seeds of the streams of some steps' micro-batches, with all replicas each."""
        seeds = []
        for _ in range(steps):
            seeds += [random.stream_seed("micro-batch", replica) for replica in range(self.layout.replicas)]
            random.count += 1
        return seeds

    def _by_iteration(self, outputs: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Outputs of a chunk as one list per step, of one tensor per output: [replicas, ...]."""
        split = [tensor.reshape((-1, self.layout.replicas, *tensor.shape[1:])) for tensor in outputs]
        return [list(step) for step in zip(*split)]

    def _gathered(self, rows: list[list[torch.Tensor]]) -> Any:
        wanted = [row for position, row in enumerate(rows) if self.layout.wanted(position)]
        return rebuilt(self.trace.outputs, [border_out(self.layout.gathered(list(column))) for column in zip(*wanted)])


def _generators(seeds: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _outputs(runner: Runner, streams: list[torch.Generator], inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return runner.outputs(inputs, streams)


def _gradients(
    runner: Runner, streams: list[torch.Generator], inputs: list[torch.Tensor], loss_scaling: float, each: bool
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    return runner.gradients(inputs, streams, loss_scaling, each)


def _any_half(weights: dict[str, torch.Tensor]) -> bool:
    return any(weight.dtype == torch.float16 for weight in weights.values())
