"""What a device takes from an optimizer: its kind, the types of its tensors, and per group the attributes.

An attribute is a constant of the executable or a variable that ``setOptimizer`` may change. poptorch's optimizers say
which (those given to the constructor are variable); of torch's, a value equal to the default is constant. The
learning rate is always variable.
"""

from __future__ import annotations

import enum
import math
import numbers
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import torch

from . import optim
from ._logging import logger
from .enums import MeanReductionStrategy


class OptimizerKind(enum.IntEnum):
    """The updates that a device knows."""

    SGD1 = 0
    SGD2 = 1
    ADAM = 2
    ADAMW = 3
    ADAMW_NO_BIAS = 4
    RMSPROP = 5
    RMSPROP_CENTERED = 6
    LAMB = 7
    LAMB_NO_BIAS = 8


class Attribute(NamedTuple):
    """A value and whether it is constant in the executable."""

    value: float
    constant: bool


@dataclass(frozen=True)
class OptimizerSettings:
    """All that a device takes from an optimizer. ``groups`` are its parameter groups, in order."""

    kind: OptimizerKind
    accumulator: torch.dtype
    first_moment: torch.dtype
    second_moment: torch.dtype
    max_grad_norm: float
    use_tf_variant: bool
    loss_scaling: Attribute
    defaults: dict[str, Attribute]
    groups: tuple[dict[str, Attribute], ...]


CAMEL = {"lr": "learningRate", "weight_decay": "weightDecay", "max_weight_norm": "maxWeightNorm"}

_CLASSES: dict[OptimizerKind, type[optim.Optimizer]] = {
    OptimizerKind.SGD1: optim.SGD,
    OptimizerKind.SGD2: optim.SGD,
    OptimizerKind.ADAM: optim.Adam,
    OptimizerKind.ADAMW: optim.AdamW,
    OptimizerKind.ADAMW_NO_BIAS: optim.AdamW,
    OptimizerKind.RMSPROP: optim.RMSprop,
    OptimizerKind.RMSPROP_CENTERED: optim.RMSprop,
    OptimizerKind.LAMB: optim.LAMB,
    OptimizerKind.LAMB_NO_BIAS: optim.LAMB,
}

# The values that torch's and poptorch's optimizers have by default: equal to them, an attribute is constant.
_CONSTANT_WHEN = {
    "weight_decay": 0.0,
    "momentum": 0.0,
    "velocity_scaling": 1.0,
    "dampening": 0.0,
    "eps": 1e-8,
    "max_weight_norm": 65500.0,
}
_ALWAYS_CONSTANT = ("alpha", "nesterov")


def kind_of(optimizer: torch.optim.Optimizer) -> OptimizerKind:
    """The device's update for an optimizer. Raises AssertionError for one that it lacks.

    AdamW is asked for first: torch made it a subclass of its Adam.
    """
    known = isinstance(optimizer, torch.optim.Optimizer)
    direct = {torch.optim.Optimizer, optim.Optimizer} & set(type(optimizer).__bases__)
    if known and not direct and type(optimizer) is not torch.optim.AdamW:
        logger.warning(
            "Optimizer `%s` subclassed from classes in poptorch.optim or torch.optim are unlikely to behave as "
            "intended. Poptorch does not run Python optimizer code directly; but instead uses IPU native optimisers "
            "implemented in PopART.",
            type(optimizer).__name__,
        )
    if isinstance(optimizer, torch.optim.SGD):
        return OptimizerKind.SGD1 if getattr(optimizer, "use_combined_accum", False) else OptimizerKind.SGD2
    if isinstance(optimizer, torch.optim.AdamW):
        corrected = getattr(optimizer, "bias_correction", True)
        return OptimizerKind.ADAMW if corrected else OptimizerKind.ADAMW_NO_BIAS
    if isinstance(optimizer, torch.optim.Adam):
        return OptimizerKind.ADAM
    if isinstance(optimizer, torch.optim.RMSprop):
        centered = optimizer.param_groups[0]["centered"]
        for number, group in enumerate(optimizer.param_groups):
            assert group["centered"] == centered, (
                "All parameter groups must have the same value for the 'centered' attribute (Group 0: {} / Group {}: "
                "{})".format(centered, number, group["centered"])
            )
        return OptimizerKind.RMSPROP_CENTERED if centered else OptimizerKind.RMSPROP
    if isinstance(optimizer, optim.LAMB):
        return OptimizerKind.LAMB if optimizer.bias_correction else OptimizerKind.LAMB_NO_BIAS
    raise AssertionError(
        "Unsupported optimizer type. Types supported {}".format(", ".join(str(kind) for kind in OptimizerKind))
    )


class AttributeTracker:
    """Remembers the attributes of the first optimizer; later ones' extra attributes are ignored, and told of once."""

    def __init__(self, relaxed: bool) -> None:
        self._log = logger.debug if relaxed else logger.warning
        self._seen: dict[str, list[str]] = {}
        self._told: set[str] = set()
        self._recording = True

    def check(self, optimizer: torch.optim.Optimizer, kind: OptimizerKind) -> None:
        """Compare an optimizer with the first one."""
        hidden = ("defaults", "state", "param_groups", "variable_attrs")
        self._compare("group", list(optimizer.defaults), "default group variable", kind)
        self._compare("optimizer", [n for n in vars(optimizer) if n not in hidden], "optimizer attribute", kind)
        for number, group in enumerate(optimizer.param_groups):
            names = [name for name in group if name != "params"]
            self._compare("group", names, "group {} attribute".format(number), kind)
        self._recording = False

    def _compare(self, place: str, names: list[str], what: str, kind: OptimizerKind) -> None:
        seen = self._seen.setdefault(place, [])
        extra = [name for name in names if name not in seen]
        if self._recording:
            seen.extend(extra)
        elif extra:
            message = "Ignoring unexpected {} in {} optimizer: {}".format(what, kind.name, extra)
            if message not in self._told:
                self._log(message)
                self._told.add(message)


def read(
    optimizer: torch.optim.Optimizer, tracker: AttributeTracker, options: Any, compiled: bool
) -> OptimizerSettings:
    """Read an optimizer. Raises ValueError or AssertionError for what the device cannot do.

    A float16 accumulator switches the options' mean to a running one; that is refused once compiled.
    """
    kind = kind_of(optimizer)
    variable = getattr(optimizer, "variable_attrs", None)
    accumulator = _half_or_float(optimizer, "accum_type")
    if accumulator == torch.float16 and not getattr(optimizer, "use_combined_accum", False):
        _switch_to_running_mean(options, compiled)
    automatic_scaling = bool(options._Popart.options.get("automaticLossScalingSettings.enabled", False))
    if variable is not None and automatic_scaling:
        variable.markAsVariable("loss_scaling")
    scaling = float(getattr(optimizer, "loss_scaling", 1.0))
    if variable is not None:
        scaling_constant = variable.isConstant("loss_scaling")
    else:
        scaling_constant = scaling == 1.0 and not automatic_scaling
    norm = float(getattr(optimizer, "max_grad_norm", math.inf))
    first = "velocity_accum_type" if kind in (OptimizerKind.SGD1, OptimizerKind.SGD2) else None
    tracker.check(optimizer, kind)
    return OptimizerSettings(
        kind=kind,
        accumulator=accumulator,
        first_moment=_half_or_float(optimizer, first or "first_order_momentum_accum_type"),
        second_moment=_half_or_float(optimizer, "second_order_momentum_accum_type"),
        max_grad_norm=norm,
        use_tf_variant=bool(getattr(optimizer, "use_tf_variant", False)),
        loss_scaling=Attribute(scaling, scaling_constant),
        defaults=_attributes(optimizer.defaults, kind, variable),
        groups=tuple(_attributes(group, kind, variable) for group in optimizer.param_groups),
    )


def _half_or_float(optimizer: Any, name: str) -> torch.dtype:
    dtype = getattr(optimizer, name, torch.float32)
    if dtype not in (torch.float16, torch.float32):
        raise ValueError("{} must be set to either torch.float16 or torch.float32 not {}".format(name, dtype))
    return dtype


def _switch_to_running_mean(options: Any, compiled: bool) -> None:
    if not compiled:
        options._unfreeze()
        options.Training.setMeanAccumulationAndReplicationReductionStrategy(MeanReductionStrategy.Running)
        options._freeze()
    elif options.Training.meanAccumulationAndReplicationReductionStrategy != MeanReductionStrategy.Running:
        raise ValueError(
            "Invalid optimizer: the new optimizer would require changing "
            "options.Training.meanAccumulationAndReplicationReductionStrategy to "
            "poptorch.MeanReductionStrategy.Running but the executable is already compiled."
        )


def _attributes(
    group: dict[str, Any], kind: OptimizerKind, variable: Optional[optim.VariableAttributes]
) -> dict[str, Attribute]:
    if group.get("amsgrad"):
        raise ValueError("Only non-amsgrad Adam/AdamW optimizers are supported.")
    found: dict[str, Attribute] = {}
    for name in _CLASSES[kind]._group_vars:
        if name in ("amsgrad", "centered") or (name == "velocity_scaling" and kind == OptimizerKind.SGD2):
            continue  # a separate velocity is scaled as the loss is
        if name == "betas":
            found.update(_betas(group["betas"], variable))
            continue
        value = group.get(name, 1.0 if name == "velocity_scaling" else None)
        assert value is not None, "Mandatory attribute {} not found in optimizer group".format(name)
        assert isinstance(value, numbers.Number), "Expected a number for {} but got {} instead".format(name, value)
        found[name] = Attribute(float(value), _is_constant(name, value, kind, variable))  # type: ignore[arg-type]
    return found


def _betas(betas: Any, variable: Optional[optim.VariableAttributes]) -> dict[str, Attribute]:
    assert isinstance(betas, tuple) and len(betas) == 2, "Expected a pair for betas but got {} instead".format(betas)
    for position, beta in enumerate(betas):
        assert isinstance(beta, numbers.Number), "Expected a number for betas[{}] but got {} instead".format(
            position, beta
        )
    constant = variable.isConstant("betas") if variable is not None else True
    return {"beta1": Attribute(float(betas[0]), constant), "beta2": Attribute(float(betas[1]), constant)}


def _is_constant(name: str, value: Any, kind: OptimizerKind, variable: Optional[optim.VariableAttributes]) -> bool:
    if variable is not None:
        return variable.isConstant(name)
    if name == "lr":
        return False
    if name in _ALWAYS_CONSTANT:
        return True
    usual = 0.01 if name == "weight_decay" and kind == OptimizerKind.ADAMW else _CONSTANT_WHEN[name]
    return bool(value == usual)


def describe(settings: OptimizerSettings) -> list[tuple[str, str]]:
    """The optimizer in words: for the whole graph and for each group, what is constant marked so."""
    scaling = settings.loss_scaling
    graph = {_default_name(name): held for name, held in settings.defaults.items()}
    groups = [{CAMEL.get(name, name): held for name, held in group.items()} for group in settings.groups]
    for name, group in [("defaultVelocityScaling", graph), *[("velocityScaling", group) for group in groups]]:
        if "velocity_scaling" in group:
            group["velocityScaling"] = group.pop("velocity_scaling")
        if settings.kind == OptimizerKind.SGD2:
            group[name] = scaling
    types = "accumType={}, firstOrderMomentumAccumType={}, secondOrderMomentumAccumType={}".format(
        *[str(dtype).split(".")[1] for dtype in (settings.accumulator, settings.first_moment, settings.second_moment)]
    )
    kind = settings.kind.name.split("_")[0].rstrip("12")
    said = [("graph", "{}, {}, {}".format(kind, _listed({**graph, "lossScaling": scaling}), types))]
    for number, group in enumerate(groups):
        said.append(("group {}".format(number), "{}, {}".format(kind, _listed(group))))
    return said


def _default_name(name: str) -> str:
    if name == "nesterov":
        return name
    camel = "velocityScaling" if name == "velocity_scaling" else CAMEL.get(name, name)
    return "default" + camel[0].upper() + camel[1:]


def _listed(attributes: dict[str, Attribute]) -> str:
    return ", ".join(
        "{}={:g}{}".format(name, held.value, " (const)" if held.constant else "")
        for name, held in sorted(attributes.items())
    )
