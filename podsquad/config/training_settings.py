"""The settings of the model, its training and the runtime that does it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from podsquad.config.section import Section, run_only, setting


class ModelSettings(Section):
    """Which encoder is fine-tuned."""

    base: str = setting("FacebookAI/roberta-base", shapes=("compile", "train"), content=True, min_length=1)
    """Folder or Hub name of the encoder to start from; "scratch" makes a RoBERTa of the sizes below."""
    revision: str | None = setting(None, shapes=("compile", "train"))
    """Commit of the encoder's Hub repository; nothing: the one that podsquad knows for it, else its newest."""
    hidden_size: int = setting(128, shapes=("compile", "train"), when=("model.base", "scratch"), ge=8)
    """Width of a model from scratch."""
    num_layers: int = setting(3, shapes=("compile", "train"), when=("model.base", "scratch"), ge=1)
    """Depth of a model from scratch."""
    num_heads: int = setting(4, shapes=("compile", "train"), when=("model.base", "scratch"), ge=1)
    """Attention heads of a model from scratch."""
    intermediate_size: int = setting(512, shapes=("compile", "train"), when=("model.base", "scratch"), ge=8)
    """Width of the feed-forward layers of a model from scratch."""
    dropout: float | None = setting(None, shapes=("compile", "train"), ge=0.0, lt=1.0)
    """Dropout of hidden states and attention; nothing: as the model's own config says."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelSettings:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}: "
                "choose sizes that divide"
            )
        return self


class TrainingSettings(Section):
    """The recipe of the training."""

    epochs: int = setting(2, shapes=("train",), ge=1)
    """Passes over the training features."""
    batch_size: int = setting(256, shapes=("compile", "train"), ge=1)
    """Features per optimizer step, over all devices."""
    micro_batch_tokens: int = setting(8192, shapes=("compile", "train"), when=("runtime.name", "torch"), ge=64)
    """Most tokens that go through the model at once; a step's gradient does not depend on it but for rounding."""
    learning_rate: float = setting(6e-5, shapes=("train",), gt=0.0, le=1.0)
    """Peak learning rate."""
    warmup_share: float = setting(0.25, shapes=("train",), ge=0.0, lt=1.0)
    """Share of the steps over which the rate rises from 0 to its peak; it then falls linearly to 0."""
    weight_decay: float = setting(0.01, shapes=("train",), ipu_shapes=("compile",), ge=0.0)
    """Decoupled weight decay of everything but biases and layer norms; a constant of an IPU's program."""
    beta1: float = setting(0.9, shapes=("train",), ge=0.0, lt=1.0)
    """Adam's decay of the first moment."""
    beta2: float = setting(0.999, shapes=("train",), ge=0.0, lt=1.0)
    """Adam's decay of the second moment."""
    epsilon: float = setting(1e-8, shapes=("train",), gt=0.0)
    """Adam's epsilon."""
    max_gradient_norm: float | None = setting(None, shapes=("train",), when=("runtime.name", "torch"), gt=0.0)
    """Clip the gradient to this norm; nothing: do not clip, as the reference run. IPUs cannot."""
    seed: int = setting(1984, shapes=("train",), ge=0, lt=2**63)
    """Seed of the order of samples, of new weights and of dropout."""
    precision: Literal["float32", "bfloat16", "float16"] = setting("float32", shapes=("compile", "train", "evaluate"))
    """Arithmetic of the model. bfloat16 is torch's alone, and keeps weights and optimizer state in float32; float16 is
    the IPUs' alone, and keeps everything but Adam's second moment in float16."""
    drop_last: bool = setting(False, shapes=("train",), when=("runtime.name", "torch"))
    """Leave out an epoch's last, smaller batch, as the POD always does."""
    balanced: bool = setting(False, shapes=("compile", "train"), when=("runtime.name", "torch"))
    """Draw the features of a step so that all steps hold about as many tokens; otherwise as they come."""
    checkpoint_interval_steps: int = run_only(100, ge=1)
    """Optimizer steps between checkpoints."""


class RuntimeSettings(Section):
    """On what the model is compiled, trained and run."""

    name: Literal["torch", "ipu"] = setting("torch", shapes=("compile", "train", "evaluate"))
    """The runtime: torch on a CPU or a CUDA device, or optimum-graphcore on IPUs."""
    emulated: bool = setting(False, shapes=("compile", "train", "evaluate"), when=("runtime.name", "ipu"))
    """Run the IPUs' program on this machine's CPU, over an emulation of the Poplar SDK."""
    python: Path | None = run_only(None)
    """Interpreter of the runtime's environment; nothing: this one."""
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", shapes=("compile", "train", "evaluate"), when=("runtime.name", "torch")
    )
    """Device; "auto" takes CUDA where there is an NVIDIA device."""
    formulation: Literal["auto", "packed", "padded"] = setting(
        "auto", shapes=("compile", "train", "evaluate"), when=("runtime.name", "torch")
    )
    """Sequences end to end without padding, or stock Hugging Face with padding: the oracle, and for encoders that
    cannot run packed; "auto" tries an encoder and takes packed where the logits stay the same."""
    processes: int = setting(1, shapes=("compile", "train"), when=("runtime.name", "torch"), ge=1)
    """Processes that train together, each on a CUDA device of its own or on its share of the CPU threads."""
    compiled: Literal["auto", "always", "never"] = setting(
        "auto", shapes=("compile", "train"), when=("runtime.name", "torch")
    )
    """Compile the model's program; "auto" does on CUDA and decides for eager on the CPU."""
    threads: int | None = run_only(None, ge=1)
    """CPU threads of the runtime, over all its processes; nothing: one per processor it may use."""
    hang_seconds: float = run_only(900.0, gt=0.0)
    """Stop a runtime that sends no event for this long."""
    exclusive: Literal["auto", "always", "never"] = run_only("auto")
    """Let one runtime at a time use this host's device; "auto" does for accelerators, not for the CPU."""
    exclusive_wait_seconds: float = run_only(4 * 3600.0, ge=0.0)
    """Wait at most this long for the device while another run uses it."""
    lock_folder: Path | None = run_only(None)
    """Folder of the device's lock, one for all who share the device; nothing: /run/lock, or the temporary folder."""


class EvaluationSettings(Section):
    """How answers are found and scored."""

    num_best: int = setting(20, shapes=("evaluate",), ge=1, le=1000)
    """Candidate starts and ends per window."""
    max_answer_tokens: int = setting(30, shapes=("evaluate",), ge=1)
    """Longest answer, in tokens."""
    batch_tokens: int = run_only(8192, ge=64)
    """Most tokens that go through the model at once while predicting."""
