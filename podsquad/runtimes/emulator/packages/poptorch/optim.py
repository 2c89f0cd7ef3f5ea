"""poptorch's optimizers: torch's own with the attributes that the device adds.

They hold settings and, once a model has run, a copy of the device's state under the keys ``ipu_state`` (tensors that
the update keeps) and ``ipu_param`` (its variable attributes). The update itself is made by ``updates.py``, never by
``step``, and starts from what the device holds.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Iterable, Optional

import torch

from ._logging import logger

_ACCUMULATOR_TYPES = (torch.float16, torch.float32)


class VariableAttributes:
    """Which attributes may change after compiling; the others are constants of the executable."""

    def __init__(self, variable_attributes: list[str], allowed_attributes: list[str]) -> None:
        self._variable_attributes = variable_attributes
        self._allowed_attributes = allowed_attributes

    def isConstant(self, attr: str) -> bool:
        """Whether the attribute is constant."""
        return attr not in self._variable_attributes

    def _known(self, attr: str) -> None:
        assert attr in self._allowed_attributes, "Unknown attribute {}, allowed values: {}".format(
            attr, self._allowed_attributes
        )

    def markAsConstant(self, attr: str) -> None:
        """Make an attribute constant. Raises AssertionError for an unknown one."""
        self._known(attr)
        self._variable_attributes = [name for name in self._variable_attributes if name != attr]

    def markAsVariable(self, attr: str) -> None:
        """Let an attribute change. Raises AssertionError for an unknown one."""
        self._known(attr)
        self._variable_attributes.append(attr)


class Optimizer:
    """What poptorch's optimizers share: the device's state, and which of the two copies is newer."""

    defaults: dict[str, Any]
    _child_vars: tuple[str, ...] = ()
    _child_only: tuple[str, ...] = ()
    _group_vars: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._state_dict: dict[str, Any] = {"ipu_state": None, "ipu_param": None}
        self.ipu_state_is_dirty = False
        self.host_state_is_dirty = False

    def state_dict(self) -> dict[str, Any]:
        """The state, read from the device first when it is newer there (a model puts that in place)."""
        return self.get_state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state that a poptorch optimizer gave. Raises RuntimeError for another's."""
        torch.optim.Optimizer.load_state_dict(self, state)
        self.set_state_dict(state)

    def get_state_dict(self) -> dict[str, Any]:
        """The host's copy of the state."""
        return {**self._state_dict, **torch.optim.Optimizer.state_dict(self)}

    def set_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the host's copy; the device takes it before its next run."""
        if not state:
            raise RuntimeError("Cannot load optimizer state dictionary because it is empty.")
        if not ("ipu_state" in state and "ipu_param" in state):
            raise RuntimeError("Only IPU optimizer states can be loaded onto the IPU.")
        self._state_dict = state
        self.ipu_state_is_dirty = True
        self.host_state_is_dirty = False

    def has_state(self) -> bool:
        """Whether there is a device state."""
        return self._state_dict.get("ipu_state") is not None and self._state_dict.get("ipu_param") is not None

    def _extend(self, given: dict[str, Any], defaults: dict[str, Any]) -> None:
        """Set the attributes that torch's class lacks; those given explicitly may change after compiling."""
        for name, default in defaults.items():
            value = default if given.get(name) is None else given[name]
            if name.endswith("accum_type"):
                assert value in _ACCUMULATOR_TYPES, "Accumulation types must be either torch.float32 or torch.float16"
            setattr(self, name, value)
        variables = [name for name, value in given.items() if value is not None]
        allowed = [*self.defaults, *self._child_vars]
        self.variable_attrs = VariableAttributes(variables, allowed)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = torch.optim.Optimizer.__getstate__(self)
        for name in ("variable_attrs", "_state_dict", *self._child_only):
            if name in self.__dict__:
                state[name] = self.__dict__[name]
        state["ipu_state_is_dirty"] = self.has_state()
        state["host_state_is_dirty"] = False
        return state


def _given(scope: dict[str, Any], child_only: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a constructor, and those of them that torch's constructor takes."""
    given = {name: value for name, value in scope.items() if name not in ("self", "__class__")}
    parent = {name: value for name, value in given.items() if value is not None and name not in child_only}
    return given, parent


_MOMENTA = {
    "loss_scaling": 1.0,
    "accum_type": torch.float32,
    "first_order_momentum_accum_type": torch.float32,
    "second_order_momentum_accum_type": torch.float32,
}


class SGD(Optimizer, torch.optim.SGD):
    """Stochastic gradient descent; ``use_combined_accum`` lets gradient and velocity share one tensor."""

    _child_vars = ("loss_scaling",)
    _child_only = (
        "loss_scaling",
        "velocity_scaling",
        "use_combined_accum",
        "accum_type",
        "velocity_accum_type",
        "max_grad_norm",
    )
    _group_vars = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "velocity_scaling")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: Optional[float] = None,
        dampening: Optional[float] = None,
        weight_decay: Optional[float] = None,
        nesterov: Optional[bool] = None,
        maximize: Optional[bool] = None,
        foreach: Optional[bool] = None,
        differentiable: Optional[bool] = None,
        loss_scaling: Optional[float] = None,
        velocity_scaling: Optional[float] = None,
        use_combined_accum: Optional[bool] = None,
        accum_type: Optional[torch.dtype] = None,
        velocity_accum_type: Optional[torch.dtype] = None,
        max_grad_norm: Optional[float] = None,
    ) -> None:
        given, parent = _given(locals(), SGD._child_only)
        Optimizer.__init__(self)
        torch.optim.SGD.__init__(self, **parent)
        if use_combined_accum:
            velocity_scaling = 1.0 if velocity_scaling is None else velocity_scaling
            self.defaults["velocity_scaling"] = velocity_scaling
            for group in self.param_groups:
                group.setdefault("velocity_scaling", velocity_scaling)
        elif velocity_scaling is not None:
            logger.warning(
                "velocity_scaling value ignored when using the separate variant (use_combined_accum=False). In "
                "future, this will lead to an error. Please update your code."
            )
        self._extend(
            given,
            {
                "loss_scaling": 1.0,
                "use_combined_accum": False,
                "accum_type": torch.float32,
                "velocity_accum_type": torch.float32,
                "max_grad_norm": math.inf,
            },
        )


class Adam(Optimizer, torch.optim.Adam):
    """Adam with the weight decay in the gradient."""

    _child_vars = ("loss_scaling",)
    _child_only = (*_MOMENTA, "max_grad_norm")
    _group_vars = ("lr", "betas", "eps", "weight_decay", "amsgrad")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Optional[float] = None,
        betas: Optional[tuple[float, float]] = None,
        eps: Optional[float] = None,
        weight_decay: Optional[float] = None,
        amsgrad: Optional[bool] = None,
        foreach: Optional[bool] = None,
        maximize: Optional[bool] = None,
        capturable: Optional[bool] = None,
        differentiable: Optional[bool] = None,
        fused: Optional[bool] = None,
        loss_scaling: Optional[float] = None,
        accum_type: Optional[torch.dtype] = None,
        first_order_momentum_accum_type: Optional[torch.dtype] = None,
        second_order_momentum_accum_type: Optional[torch.dtype] = None,
        max_grad_norm: Optional[float] = None,
    ) -> None:
        given, parent = _given(locals(), Adam._child_only)
        Optimizer.__init__(self)
        torch.optim.Adam.__init__(self, **parent)
        self._extend(given, {**_MOMENTA, "max_grad_norm": math.inf})


class AdamW(Optimizer, torch.optim.AdamW):
    """Adam with decoupled weight decay. For ``bias_correction`` see ``updates.BIAS_CORRECTION_SWITCH``."""

    _child_vars = ("loss_scaling",)
    _child_only = (*_MOMENTA, "bias_correction", "max_grad_norm")
    _group_vars = ("lr", "betas", "weight_decay", "eps", "amsgrad")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Optional[float] = None,
        betas: Optional[tuple[float, float]] = None,
        eps: Optional[float] = None,
        weight_decay: Optional[float] = None,
        amsgrad: Optional[bool] = None,
        maximize: Optional[bool] = None,
        foreach: Optional[bool] = None,
        capturable: Optional[bool] = None,
        differentiable: Optional[bool] = None,
        fused: Optional[bool] = None,
        loss_scaling: Optional[float] = None,
        bias_correction: Optional[bool] = None,
        accum_type: Optional[torch.dtype] = None,
        first_order_momentum_accum_type: Optional[torch.dtype] = None,
        second_order_momentum_accum_type: Optional[torch.dtype] = None,
        max_grad_norm: Optional[float] = None,
    ) -> None:
        given, parent = _given(locals(), AdamW._child_only)
        Optimizer.__init__(self)
        torch.optim.AdamW.__init__(self, **parent)
        self._extend(given, {**_MOMENTA, "bias_correction": True, "max_grad_norm": math.inf})


class RMSprop(Optimizer, torch.optim.RMSprop):
    """RMSprop; ``use_tf_variant`` puts epsilon within the root."""

    _child_vars = ("loss_scaling",)
    _child_only = (*_MOMENTA, "use_tf_variant")
    _group_vars = ("lr", "momentum", "weight_decay", "alpha", "eps", "centered")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Optional[float] = None,
        alpha: Optional[float] = None,
        eps: Optional[float] = None,
        weight_decay: Optional[float] = None,
        momentum: Optional[float] = None,
        centered: Optional[bool] = None,
        foreach: Optional[bool] = None,
        maximize: Optional[bool] = None,
        differentiable: Optional[bool] = None,
        loss_scaling: Optional[float] = None,
        accum_type: Optional[torch.dtype] = None,
        first_order_momentum_accum_type: Optional[torch.dtype] = None,
        second_order_momentum_accum_type: Optional[torch.dtype] = None,
        use_tf_variant: Optional[bool] = None,
    ) -> None:
        given, parent = _given(locals(), RMSprop._child_only)
        Optimizer.__init__(self)
        torch.optim.RMSprop.__init__(self, **parent)
        self._extend(given, {**_MOMENTA, "use_tf_variant": False})


class LAMB(Optimizer, torch.optim.Optimizer):
    """Layer-wise adaptive moments for large batches."""

    _child_vars = ("loss_scaling",)
    _child_only = (*_MOMENTA, "bias_correction")
    _group_vars = ("lr", "weight_decay", "betas", "eps", "max_weight_norm")

    def __init__(
        self,
        params: Iterable[Any],
        lr: Optional[float] = None,
        betas: Optional[tuple[float, float]] = None,
        eps: Optional[float] = None,
        weight_decay: Optional[float] = None,
        bias_correction: Optional[bool] = None,
        loss_scaling: Optional[float] = None,
        max_weight_norm: Optional[float] = None,
        accum_type: Optional[torch.dtype] = None,
        first_order_momentum_accum_type: Optional[torch.dtype] = None,
        second_order_momentum_accum_type: Optional[torch.dtype] = None,
    ) -> None:
        given, _ = _given(locals(), ())
        defaults = {
            "lr": 1e-3 if lr is None else lr,
            "betas": (0.9, 0.999) if betas is None else betas,
            "eps": 1e-8 if eps is None else eps,
            "weight_decay": 0.01 if weight_decay is None else weight_decay,
            "max_weight_norm": 65500.0 if max_weight_norm is None else max_weight_norm,
        }
        Optimizer.__init__(self)
        torch.optim.Optimizer.__init__(self, params, defaults)
        self.max_weight_norm = defaults["max_weight_norm"]
        self._extend(given, {**_MOMENTA, "bias_correction": True})

    @torch.no_grad()
    def step(self, closure: Optional[Callable[[], float]] = None) -> Optional[float]:
        """Make the update on the CPU, for models that are not poptorch's."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                self._step_of(parameter, group)
        return loss

    def _step_of(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
        scale1 = 1 - beta1 ** state["step"] if self.bias_correction else 1.0
        scale2 = 1 - beta2 ** state["step"] if self.bias_correction else 1.0
        root = state["exp_avg_sq"].sqrt() / math.sqrt(scale2) + group["eps"]
        change = state["exp_avg"] / scale1 / root + group["weight_decay"] * parameter
        weight_norm = parameter.norm().clamp(max=self.max_weight_norm)
        change_norm = change.norm()
        trust = 1.0 if weight_norm == 0 or change_norm == 0 else float(weight_norm / change_norm)
        parameter.add_(change, alpha=-group["lr"] * trust)
