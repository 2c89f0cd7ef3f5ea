"""poptorch's optimizers: torch's own with the attributes that the device adds.

They hold settings and, once a model has run, a copy of the device's state under the keys ``ipu_state`` (tensors that
the update keeps) and ``ipu_param`` (its variable attributes). The update itself is made by ``updates.py``, never by
``step``, and starts from what the device holds.
"""

from __future__ import annotations

import math
from typing import Any, Callable, ClassVar, Iterable, Optional

import torch

from ._logging import logger

_UPDATE_TYPES = (torch.float16, torch.float32)
_OF_PYTHON = ("self", "__class__")  # what ``locals`` of a constructor holds beside its arguments


class VariableAttributes:
    """Which attributes may change after compiling; the others are constants of the executable."""

    def __init__(self, variable_attributes: list[str], allowed_attributes: list[str]) -> None:
        self._allowed_attributes = list(allowed_attributes)
        self._variable_attributes = list(variable_attributes)

    def markAsVariable(self, attr: str) -> None:
        """Let an attribute change. Raises AssertionError for an unknown one."""
        self.markAsConstant(attr)
        self._variable_attributes.append(attr)

    def markAsConstant(self, attr: str) -> None:
        """Make an attribute constant. Raises AssertionError for an unknown one."""
        assert attr in self._allowed_attributes, "the device has no attribute {!r} of this optimizer; it has {}".format(
            attr, ", ".join(sorted(self._allowed_attributes))
        )
        self._variable_attributes = [name for name in self._variable_attributes if name != attr]

    def isConstant(self, attr: str) -> bool:
        """Whether the attribute is constant."""
        return self._variable_attributes.count(attr) == 0


class DeviceCopy:
    """The host's copy of what a device holds for an optimizer, and which of the two is newer.

    ``state`` and ``attributes`` are tensors by name, None before a model has run. ``is_ahead``: the device takes the
    copy before its next run. ``is_behind``: the copy is taken from the device before it is shown.
    """

    def __init__(self, state: Any = None, attributes: Any = None) -> None:
        self.state = state
        self.attributes = attributes
        self.is_ahead = self.is_filled
        self.is_behind = False

    @property
    def is_filled(self) -> bool:
        """Whether there is anything to give to a device."""
        return None not in (self.state, self.attributes)


class Optimizer:
    """What poptorch's optimizers share: the copy of the device's state, and attributes that torch's lack."""

    defaults: dict[str, Any]
    param_groups: list[dict[str, Any]]
    # Attributes that the device adds, each with the value that it has unless given.
    _added: ClassVar[dict[str, Any]] = {}
    # Attributes that each parameter group has its own of.
    _per_group: ClassVar[tuple[str, ...]] = ()
    # Put in place by the model that trains with this optimizer: brings a newer state from the device.
    _fetch: Optional[Callable[[], None]] = None

    def __init__(self) -> None:
        self._copy = DeviceCopy()

    def _start(self, torch_class: Any, arguments: dict[str, Any]) -> None:
        """Set up from a constructor's arguments: torch's go to torch's class, the added ones become attributes.

        Those given explicitly may change after compiling, the others are constants.
        """
        Optimizer.__init__(self)
        given = {name: value for name, value in arguments.items() if value is not None and name not in _OF_PYTHON}
        torch_class.__init__(self, **{name: value for name, value in given.items() if name not in self._added})
        for name, usual in self._added.items():
            setattr(self, name, given.get(name, usual))
        for name in self._added:
            if name.endswith("accum_type"):
                assert getattr(self, name) in _UPDATE_TYPES, "{} must be torch.float16 or torch.float32".format(name)
        self.variable_attrs = VariableAttributes(list(given), [*self.defaults, "loss_scaling"])

    def _add_to_groups(self, name: str, value: Any, usual: Any) -> None:
        """Give each parameter group an attribute that torch's class lacks."""
        self.defaults[name] = usual if value is None else value
        for group in self.param_groups:
            group.setdefault(name, self.defaults[name])
        self.variable_attrs._allowed_attributes.append(name)
        if value is not None:
            self.variable_attrs.markAsVariable(name)

    def _host_state(self) -> dict[str, Any]:
        """The state as the host has it."""
        shared = torch.optim.Optimizer.state_dict(self)
        return dict(shared, ipu_state=self._copy.state, ipu_param=self._copy.attributes)

    def state_dict(self) -> dict[str, Any]:
        """The state, read from the device first when it is newer there."""
        if self._fetch is not None:
            self._fetch()
        return self._host_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state that a poptorch optimizer gave; the device has it before its next run.

        Raises RuntimeError for another's: nothing is taken of it then.
        """
        if not {"ipu_state", "ipu_param"} <= set(state):
            raise RuntimeError(
                "Only IPU optimizer states can be loaded onto the IPU."  # matched by poptorch's published test
                " This one has no ipu_state and ipu_param: it is empty or an optimizer of torch saved it."
            )
        torch.optim.Optimizer.load_state_dict(self, state)
        self._copy = DeviceCopy(state["ipu_state"], state["ipu_param"])

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles have: all but the model that trains with this optimizer."""
        kept = {name: value for name, value in vars(self).items() if name in ("variable_attrs", *self._added)}
        copied = DeviceCopy(self._copy.state, self._copy.attributes)
        return {**torch.optim.Optimizer.__getstate__(self), **kept, "_copy": copied}


_MOMENTA = {
    "loss_scaling": 1.0,
    "accum_type": torch.float32,
    "first_order_momentum_accum_type": torch.float32,
    "second_order_momentum_accum_type": torch.float32,
}


class SGD(Optimizer, torch.optim.SGD):
    """Stochastic gradient descent; ``use_combined_accum`` lets gradient and velocity share one tensor."""

    _added: ClassVar[dict[str, Any]] = {
        "loss_scaling": 1.0,
        "use_combined_accum": False,
        "accum_type": torch.float32,
        "velocity_accum_type": torch.float32,
        "max_grad_norm": math.inf,
    }
    _per_group = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "velocity_scaling")

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
        arguments = dict(locals())
        del arguments["velocity_scaling"]
        self._start(torch.optim.SGD, arguments)
        if use_combined_accum:
            self._add_to_groups("velocity_scaling", velocity_scaling, usual=1.0)
        elif velocity_scaling is not None:
            logger.warning("velocity_scaling=%s has no effect: it goes with use_combined_accum=True", velocity_scaling)


class Adam(Optimizer, torch.optim.Adam):
    """Adam with the weight decay in the gradient."""

    _added: ClassVar[dict[str, Any]] = {**_MOMENTA, "max_grad_norm": math.inf}
    _per_group = ("lr", "betas", "eps", "weight_decay", "amsgrad")

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
        self._start(torch.optim.Adam, dict(locals()))


class AdamW(Optimizer, torch.optim.AdamW):
    """Adam with decoupled weight decay. For ``bias_correction`` see ``updates.BIAS_CORRECTION_SWITCH``."""

    _added: ClassVar[dict[str, Any]] = {**_MOMENTA, "bias_correction": True, "max_grad_norm": math.inf}
    _per_group = ("lr", "betas", "weight_decay", "eps", "amsgrad")

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
        self._start(torch.optim.AdamW, dict(locals()))


class RMSprop(Optimizer, torch.optim.RMSprop):
    """RMSprop; ``use_tf_variant`` puts epsilon within the root."""

    _added: ClassVar[dict[str, Any]] = {**_MOMENTA, "use_tf_variant": False}
    _per_group = ("lr", "momentum", "weight_decay", "alpha", "eps", "centered")

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
        self._start(torch.optim.RMSprop, dict(locals()))


class _LambGroups(torch.optim.Optimizer):
    """Parameter groups with LAMB's attributes, in the place of the class that torch does not have."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        max_weight_norm: float = 65500.0,
    ) -> None:
        attributes = {"lr": lr, "betas": betas, "eps": eps}
        super().__init__(params, {**attributes, "weight_decay": weight_decay, "max_weight_norm": max_weight_norm})


class LAMB(Optimizer, _LambGroups):
    """Layer-wise adaptive moments for large batches."""

    _added: ClassVar[dict[str, Any]] = {**_MOMENTA, "bias_correction": True}
    _per_group = ("lr", "weight_decay", "betas", "eps", "max_weight_norm")

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
        self._start(_LambGroups, dict(locals()))

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
        weight_norm = parameter.norm().clamp(max=group["max_weight_norm"])
        change_norm = change.norm()
        trust = 1.0 if weight_norm == 0 or change_norm == 0 else float(weight_norm / change_norm)
        parameter.add_(change, alpha=-group["lr"] * trust)
