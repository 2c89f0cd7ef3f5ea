"""The weight updates of the device, in its order of operations.

Gradients come in as accumulated: the mean (or sum) over accumulation steps and replicas, still times the loss
scaling. States are stored unscaled, in the types that the optimizer asked for; all arithmetic is float32 and one
rounding follows. A variable attribute is read from the device's tensor of that name, so that a loaded state counts.
"""

from __future__ import annotations

import math
import os
from typing import Callable, Iterable

import torch

from . import loss_scaling
from .errors import compiler_error
from .optimizer_settings import CAMEL, Attribute, OptimizerSettings, Update

# "sdk": as SDK 2.4 to 3.4 do it, AdamW(bias_correction=False) is lowered to the bias-corrected Adam, so the argument
# has no effect (IPUTrainer always passes False, and the reference run was bias-corrected). "argument": take the
# argument at its word. LAMB honours its argument in every SDK.
BIAS_CORRECTION_SWITCH = "PODSQUAD_EMULATED_BIAS_CORRECTION"

Rounding = Callable[[torch.Tensor, torch.dtype], torch.Tensor]


def bias_correction_follows_sdk() -> bool:
    """Whether AdamW ignores ``bias_correction=False``, as the SDK does. Raises ValueError for an unknown setting."""
    value = os.environ.get(BIAS_CORRECTION_SWITCH, "sdk")
    if value not in ("sdk", "argument"):
        raise ValueError("{} must be sdk or argument, not {}".format(BIAS_CORRECTION_SWITCH, value))
    return value == "sdk"


def _check_replaces(compiled: OptimizerSettings, new: OptimizerSettings) -> None:
    same = (
        compiled.variant == new.variant
        and len(compiled.groups) == len(new.groups)
        and compiled.max_grad_norm == new.max_grad_norm
        and (compiled.accumulator, compiled.first_moment, compiled.second_moment)
        == (new.accumulator, new.first_moment, new.second_moment)
    )
    if not same:
        raise compiler_error(
            "The new optimizer cannot replace the compiled one: its kind ({} for {}), groups or types differ".format(
                new.variant.update.value, compiled.variant.update.value
            )
        )
    pairs = [("loss_scaling", compiled.loss_scaling, new.loss_scaling)]
    for before, after in zip(compiled.groups, new.groups):
        pairs += [(name, held, after[name]) for name, held in before.items()]
    for name, held, wanted in pairs:
        if held.constant != wanted.constant or (held.constant and held.value != wanted.value):
            raise compiler_error(
                "The new optimizer cannot replace the compiled one: {} is {}{} there and {}{} here. Attributes that "
                "shall change must be given to the constructor of a poptorch optimizer.".format(
                    name,
                    held.value,
                    " (const)" if held.constant else "",
                    wanted.value,
                    " (const)" if wanted.constant else "",
                )
            )


class DeviceOptimizer:
    """The optimizer as the device holds it: ``states`` (moments, steps) and ``variables`` (attributes), by name.

    ``groups`` maps each weight's name to the index of its group.
    """

    def __init__(self, settings: OptimizerSettings, groups: dict[str, int], weights: dict[str, torch.Tensor]) -> None:
        self.settings = settings
        self.groups = groups
        self.states: dict[str, torch.Tensor] = {}
        self.variables: dict[str, torch.Tensor] = {}
        for name, weight in weights.items():
            self._make_states(name, weight)
        self.take(settings)

    def scale_automatically(self) -> None:
        """Let a factor on the loss scaling be a state, for ``loss_scaling.py`` to move."""
        self.states[loss_scaling.STATE] = torch.ones(())

    def take(self, settings: OptimizerSettings) -> None:
        """Take the attributes of an optimizer. Raises Error when what the executable holds constant differs."""
        _check_replaces(self.settings, settings)
        self.settings = settings
        self.variables = dict(self._variables_of(settings))

    def load(self, states: dict[str, torch.Tensor], variables: dict[str, torch.Tensor]) -> None:
        """Take tensors by name; names that the device lacks are left out, and what is not given stays."""
        for name in self.states.keys() & states.keys():
            self.states[name].copy_(states[name])
        for name in self.variables.keys() & variables.keys():
            self.variables[name] = variables[name].clone()

    def _make_states(self, name: str, weight: torch.Tensor) -> None:
        kind, zeros = self.settings.variant.update, torch.zeros_like
        first, second = self.settings.first_moment, self.settings.second_moment
        if kind == Update.SGD:
            if self._has_momentum():
                self.states["Accl1___" + name] = zeros(weight, dtype=first)
            return
        self.states["Accl1___" + name] = zeros(weight, dtype=first)
        if kind == Update.RMSPROP:
            if self._has_momentum():
                self.states["Accl2___" + name] = zeros(weight, dtype=second)
            if self.settings.variant.centered:
                self.states["Accl3___" + name] = zeros(weight, dtype=torch.float32)
        else:
            self.states["Accl2___" + name] = zeros(weight, dtype=second)
            self.states["Step___" + name] = torch.zeros(1)

    def _has_momentum(self) -> bool:
        moments = [group["momentum"] for group in self.settings.groups]
        return any(moment.value != 0.0 or not moment.constant for moment in moments)

    def _variables_of(self, settings: OptimizerSettings) -> Iterable[tuple[str, torch.Tensor]]:
        if not settings.loss_scaling.constant:
            yield "lossScaling_FLOAT", torch.tensor(settings.loss_scaling.value)
        for name, group in self.groups.items():
            attributes = settings.groups[group]
            if settings.variant.update == Update.SGD:
                for attribute, value in self._sgd_values(attributes, settings.loss_scaling.value).items():
                    yield attribute + "___specific___" + name, torch.tensor(value)
                continue
            for attribute, held in attributes.items():
                if not held.constant:
                    yield CAMEL.get(attribute, attribute) + "___specific___" + name, torch.tensor(held.value)

    def _sgd_values(self, attributes: dict[str, Attribute], loss_scaling: float) -> dict[str, float]:
        """SGD's compound variables: the device keeps products of attributes rather than the attributes."""
        lr, decay = attributes["lr"].value, attributes["weight_decay"].value
        dampening = attributes["dampening"].value
        if not self._has_momentum():
            return {
                "scaledLearningRate0": lr * (1 - dampening) / loss_scaling,
                "weightDecayScaleFactor0": 1 - lr * (1 - dampening) * decay,
            }
        return {
            "scaledLearningRate2": lr,
            "scaledMomentum2": attributes["momentum"].value,
            "dampeningScaleFactor2": (1 - dampening) / loss_scaling,
            "weightDecayScaleFactor2": (1 - dampening) * decay,
        }

    def _value(self, name: str, attribute: str) -> float:
        variable = self.variables.get(CAMEL.get(attribute, attribute) + "___specific___" + name)
        return self.settings.groups[self.groups[name]][attribute].value if variable is None else float(variable)

    def base_loss_scaling(self) -> float:
        """The loss scaling as set, without the automatic factor."""
        variable = self.variables.get("lossScaling_FLOAT")
        return self.settings.loss_scaling.value if variable is None else float(variable)

    def loss_scaling(self) -> float:
        """The factor on the loss."""
        automatic = self.states.get(loss_scaling.STATE)
        return self.base_loss_scaling() * (1.0 if automatic is None else float(automatic))

    def step(self, weights: dict[str, torch.Tensor], gradients: dict[str, torch.Tensor], rounding: Rounding) -> None:
        """Update the weights in place. ``rounding`` turns float32 into a weight's or state's type.

        Gradients are float32 or float16 tensors by weight name, times the loss scaling; they are not changed.
        """
        scale = 1.0 / self.loss_scaling()
        if not math.isinf(self.settings.max_grad_norm):
            scale *= self._clipping(gradients, scale)
        update = {Update.SGD: self._sgd, Update.RMSPROP: self._rmsprop}.get(self.settings.variant.update, self._adam)
        for name, gradient in gradients.items():
            weight = weights[name]
            new = update(name, weight.float(), gradient.float(), scale, rounding)
            weight.copy_(rounding(new, weight.dtype))

    def _clipping(self, gradients: dict[str, torch.Tensor], scale: float) -> float:
        norms = [gradient.float().norm() for gradient in gradients.values()]
        total = float(torch.stack(norms).norm()) * scale if norms else 0.0
        limit = self.settings.max_grad_norm
        return limit / total if total > limit else 1.0

    def _keep(self, key: str, value: torch.Tensor, rounding: Rounding) -> torch.Tensor:
        """Store a state, and give what was stored as float32."""
        state = self.states[key]
        state.copy_(rounding(value, state.dtype))
        return state.float()

    def _sgd(
        self, name: str, weight: torch.Tensor, gradient: torch.Tensor, scale: float, rounding: Rounding
    ) -> torch.Tensor:
        def held(attribute: str) -> float:
            return float(self.variables[attribute + "___specific___" + name])

        if not self._has_momentum():
            rest = scale * self.base_loss_scaling()  # the loss scaling is within the scaled rate: what else there is
            return weight * held("weightDecayScaleFactor0") - gradient * (held("scaledLearningRate0") * rest)
        momentum, lr = held("scaledMomentum2"), held("scaledLearningRate2")
        direction = gradient * (held("dampeningScaleFactor2") * scale * self.base_loss_scaling())
        direction = direction + weight * held("weightDecayScaleFactor2")
        velocity = self._keep(
            "Accl1___" + name, self.states["Accl1___" + name].float() * momentum + direction, rounding
        )
        if self._value(name, "nesterov"):
            undampened = 1 - self._value(name, "dampening")
            return weight - lr * (direction / undampened + momentum * velocity)
        return weight - lr * velocity

    def _adam(
        self, name: str, weight: torch.Tensor, gradient: torch.Tensor, scale: float, rounding: Rounding
    ) -> torch.Tensor:
        kind = self.settings.variant.update
        beta1, beta2 = self._value(name, "beta1"), self._value(name, "beta2")
        decay, lr, eps = (self._value(name, attribute) for attribute in ("weight_decay", "lr", "eps"))
        gradient = gradient * scale
        if kind == Update.ADAM and decay:
            gradient = gradient + weight * decay
        step = self.states["Step___" + name]
        step += 1
        first = self._keep(
            "Accl1___" + name, torch.lerp(self.states["Accl1___" + name].float(), gradient, 1 - beta1), rounding
        )
        second = self.states["Accl2___" + name].float() * beta2
        second = self._keep("Accl2___" + name, second.addcmul_(gradient, gradient, value=1 - beta2), rounding)
        if self._corrects_bias():
            count = float(step)
            powers = torch.tensor([beta1, beta2], dtype=torch.float64) ** count  # not a number beats an exception
            first = first / float(1 - powers[0])
            root = second.sqrt() / float((1 - powers[1]).sqrt())
        else:
            root = second.sqrt()
        change = first / (root + eps)
        if kind == Update.ADAM:
            return weight - lr * change
        if kind == Update.ADAMW:
            return weight * (1 - lr * decay) - lr * change
        change = change + decay * weight
        weight_norm = min(float(weight.norm()), self._value(name, "max_weight_norm"))
        change_norm = float(change.norm())
        trust = weight_norm / change_norm if weight_norm and change_norm else 1.0
        return weight - lr * trust * change

    def _corrects_bias(self) -> bool:
        update, *_, asked = self.settings.variant
        return asked or (update == Update.ADAMW and bias_correction_follows_sdk())

    def _rmsprop(
        self, name: str, weight: torch.Tensor, gradient: torch.Tensor, scale: float, rounding: Rounding
    ) -> torch.Tensor:
        alpha, momentum = self._value(name, "alpha"), self._value(name, "momentum")
        decay, lr, eps = (self._value(name, attribute) for attribute in ("weight_decay", "lr", "eps"))
        gradient = gradient * scale
        if decay:
            gradient = gradient + weight * decay
        square = self.states["Accl1___" + name].float() * alpha
        square = self._keep("Accl1___" + name, square.addcmul_(gradient, gradient, value=1 - alpha), rounding)
        if self.settings.variant.centered:
            mean = self._keep(
                "Accl3___" + name, torch.lerp(self.states["Accl3___" + name], gradient, 1 - alpha), rounding
            )
            square = square - mean * mean
        root = (square + eps).sqrt() if self.settings.variant.tf_order else square.sqrt() + eps
        change = gradient / root
        if not self._has_momentum():
            return weight - lr * change
        buffer = self.states["Accl2___" + name].float() * momentum
        if self.settings.variant.tf_order:
            return weight - self._keep("Accl2___" + name, buffer + lr * change, rounding)
        return weight - lr * self._keep("Accl2___" + name, buffer + change, rounding)
