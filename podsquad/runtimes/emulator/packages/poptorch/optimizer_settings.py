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


class Update(enum.Enum):
    """The updates that a device knows; the value is the name in log lines."""

    SGD = "SGD"
    ADAM = "ADAM"
    ADAMW = "ADAMW"
    RMSPROP = "RMSPROP"
    LAMB = "LAMB"


class Variant(NamedTuple):
    """An update, and which of its forms: ``corrects_bias`` is what the optimizer's argument says."""

    update: Update
    shares_accumulator: bool = False  # SGD: gradient and velocity in one tensor
    centered: bool = False  # RMSprop
    tf_order: bool = False  # RMSprop: epsilon within the root
    corrects_bias: bool = True  # AdamW, LAMB


class Attribute(NamedTuple):
    """A value and whether it is constant in the executable."""

    value: float
    constant: bool


@dataclass(frozen=True)
class OptimizerSettings:
    """All that a device takes from an optimizer. ``groups`` are its parameter groups, in order."""

    variant: Variant
    accumulator: torch.dtype
    first_moment: torch.dtype
    second_moment: torch.dtype
    max_grad_norm: float
    loss_scaling: Attribute
    defaults: dict[str, Attribute]
    groups: tuple[dict[str, Attribute], ...]


CAMEL = {"lr": "learningRate", "weight_decay": "weightDecay", "max_weight_norm": "maxWeightNorm"}

# In this order: torch made its AdamW a subclass of its Adam. With torch's class, poptorch's that adds to it.
_CLASSES: tuple[tuple[Any, Update, type[optim.Optimizer]], ...] = (
    (torch.optim.SGD, Update.SGD, optim.SGD),
    (torch.optim.AdamW, Update.ADAMW, optim.AdamW),
    (torch.optim.Adam, Update.ADAM, optim.Adam),
    (torch.optim.RMSprop, Update.RMSPROP, optim.RMSprop),
    (optim.LAMB, Update.LAMB, optim.LAMB),
)
_PER_GROUP = {update: ours._per_group for _, update, ours in _CLASSES}

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
_NOT_SETTINGS = ("defaults", "state", "param_groups", "variable_attrs")  # of an optimizer's attributes


def variant_of(optimizer: torch.optim.Optimizer) -> Variant:
    """The device's update for an optimizer. Raises AssertionError for one that it lacks."""
    found = [(torchs, update, ours) for torchs, update, ours in _CLASSES if isinstance(optimizer, torchs)]
    assert found, "the device has no update for {}: it has those of {}".format(
        type(optimizer).__name__, ", ".join(ours.__name__ for _, _, ours in _CLASSES)
    )
    torchs, update, ours = found[0]
    if type(optimizer) not in (torchs, ours):
        # The first sentence is matched by poptorch's published test.
        logger.warning(
            "Poptorch does not run Python optimizer code directly: %s is taken as the %s that it derives from",
            type(optimizer).__name__,
            ours.__name__,
        )
    centered = {bool(group.get("centered", False)) for group in optimizer.param_groups}
    assert len(centered) == 1, "RMSprop is centered in some parameter groups and not in others: make them alike"
    return Variant(
        update,
        shares_accumulator=bool(getattr(optimizer, "use_combined_accum", False)),
        centered=centered.pop(),
        tf_order=bool(getattr(optimizer, "use_tf_variant", False)),
        corrects_bias=bool(getattr(optimizer, "bias_correction", True)),
    )


class AttributeTracker:
    """Remembers the attributes of the first optimizer; later ones' extra attributes are ignored, and told of once."""

    def __init__(self, relaxed: bool) -> None:
        self._tell = logger.debug if relaxed else logger.warning
        self._first: Optional[dict[str, set[str]]] = None
        self._told: set[str] = set()

    def check(self, optimizer: torch.optim.Optimizer, update: Update) -> None:
        """Compare an optimizer with the first one."""
        groups = [set(group) - {"params"} for group in optimizer.param_groups]
        own = {name for name in vars(optimizer) if not name.startswith("_")} - set(_NOT_SETTINGS)
        if self._first is None:
            self._first = {"optimizer": own, "group": set(optimizer.defaults).union(*groups)}
        extra = [("default group variable", set(optimizer.defaults) - self._first["group"])]
        extra.append(("optimizer attribute", own - self._first["optimizer"]))
        extra += [("group {} attribute".format(n), names - self._first["group"]) for n, names in enumerate(groups)]
        for what, names in extra:
            line = "Ignoring unexpected {} of {}: {}".format(what, update.value, sorted(names))
            if names and line not in self._told:
                self._told.add(line)
                self._tell(line)


def read(
    optimizer: torch.optim.Optimizer, tracker: AttributeTracker, options: Any, compiled: bool
) -> OptimizerSettings:
    """Read an optimizer. Raises ValueError or AssertionError for what the device cannot do.

    A float16 accumulator switches the options' mean to a running one; that is refused once compiled.
    """
    variant = variant_of(optimizer)
    variable = getattr(optimizer, "variable_attrs", None)
    accumulator = _half_or_float(optimizer, "accum_type")
    if accumulator == torch.float16 and not variant.shares_accumulator:
        _switch_to_running_mean(options, compiled)
    automatic = bool(options._Popart.options.get("automaticLossScalingSettings.enabled", False))
    scaling = float(getattr(optimizer, "loss_scaling", 1.0))
    if variable is None:
        scaling_is_constant = scaling == 1.0 and not automatic
    else:
        if automatic:
            variable.markAsVariable("loss_scaling")
        scaling_is_constant = variable.isConstant("loss_scaling")
    first = "velocity_accum_type" if variant.update == Update.SGD else "first_order_momentum_accum_type"
    tracker.check(optimizer, variant.update)
    return OptimizerSettings(
        variant=variant,
        accumulator=accumulator,
        first_moment=_half_or_float(optimizer, first),
        second_moment=_half_or_float(optimizer, "second_order_momentum_accum_type"),
        max_grad_norm=float(getattr(optimizer, "max_grad_norm", math.inf)),
        loss_scaling=Attribute(scaling, scaling_is_constant),
        defaults=_attributes(optimizer.defaults, variant, variable),
        groups=tuple(_attributes(group, variant, variable) for group in optimizer.param_groups),
    )


def _half_or_float(optimizer: Any, name: str) -> torch.dtype:
    dtype = getattr(optimizer, name, torch.float32)
    if dtype in (torch.float16, torch.float32):
        return dtype
    raise ValueError("{} is {}: the device keeps it as torch.float16 or torch.float32".format(name, dtype))


def _switch_to_running_mean(options: Any, compiled: bool) -> None:
    if options.Training.meanAccumulationAndReplicationReductionStrategy == MeanReductionStrategy.Running:
        return
    if compiled:
        raise ValueError(
            "accum_type=torch.float16 needs MeanReductionStrategy.Running, and the executable is already compiled "
            "with another: choose that strategy, or this optimizer, before the first call"
        )
    options.seal(False)
    options.Training.setMeanAccumulationAndReplicationReductionStrategy(MeanReductionStrategy.Running)
    options.seal()


def _attributes(
    group: dict[str, Any], variant: Variant, variable: Optional[optim.VariableAttributes]
) -> dict[str, Attribute]:
    if group.get("amsgrad"):
        raise ValueError("the device has no AMSGrad: leave amsgrad at False")
    found: dict[str, Attribute] = {}
    for name in _PER_GROUP[variant.update]:
        if name in ("amsgrad", "centered"):
            continue  # the form of the update, not a number
        if name == "velocity_scaling" and not variant.shares_accumulator:
            continue  # a separate velocity is scaled as the loss is
        if name == "betas":
            constant = variable is None or variable.isConstant("betas")
            for number, beta in zip(("beta1", "beta2"), _pair(group["betas"])):
                found[number] = Attribute(_number(number, beta), constant)
            continue
        value = group.get(name, 1.0 if name == "velocity_scaling" else None)
        found[name] = Attribute(_number(name, value), _is_constant(name, value, variant, variable))
    return found


def _pair(betas: Any) -> tuple[Any, Any]:
    assert isinstance(betas, tuple) and len(betas) == 2, "betas must be a tuple of two numbers, not {!r}".format(betas)
    return betas


def _number(name: str, value: Any) -> float:
    assert isinstance(value, numbers.Real), "{} must be a number in every parameter group, not {!r}".format(name, value)
    return float(value)


def _is_constant(name: str, value: Any, variant: Variant, variable: Optional[optim.VariableAttributes]) -> bool:
    if variable is not None:
        return variable.isConstant(name)
    if name == "lr":
        return False
    if name in _ALWAYS_CONSTANT:
        return True
    usual = 0.01 if name == "weight_decay" and variant.update == Update.ADAMW else _CONSTANT_WHEN[name]
    return bool(value == usual)


def describe(settings: OptimizerSettings) -> list[tuple[str, str]]:
    """The optimizer in words: for the whole graph and for each group, what is constant marked so."""
    scaling = settings.loss_scaling
    graph = {_default_name(name): held for name, held in settings.defaults.items()}
    groups = [{CAMEL.get(name, name): held for name, held in group.items()} for group in settings.groups]
    for name, group in [("defaultVelocityScaling", graph), *[("velocityScaling", group) for group in groups]]:
        if "velocity_scaling" in group:
            group["velocityScaling"] = group.pop("velocity_scaling")
        if settings.variant.update == Update.SGD and not settings.variant.shares_accumulator:
            group[name] = scaling
    types = "accumType={}, firstOrderMomentumAccumType={}, secondOrderMomentumAccumType={}".format(
        *[str(dtype).split(".")[1] for dtype in (settings.accumulator, settings.first_moment, settings.second_moment)]
    )
    kind = settings.variant.update.value
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
