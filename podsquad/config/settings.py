"""The settings of a retraining: what can be set, within which bounds, and which stages each field shapes.

A field that shapes a stage is part of that stage's key: changing it makes the stage run again, and those that read
its output. A field that shapes none (``run_only``) changes how a run behaves, never what it makes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

StageName = Literal["download", "tokenize", "compile", "train", "evaluate", "publish"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)

ProfileName = Literal["demo", "cpu", "gpu"]
PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)


def setting(
    default: Any = ...,
    *,
    shapes: tuple[StageName, ...],
    content: bool = False,
    when: tuple[str, str] | None = None,
    **bounds: Any,
) -> Any:
    """Declare a settings field.

    ``shapes`` names the stages whose output it alters. ``content=True``: the value may be a path, and what counts
    for the key is the content found there, never the path itself. ``when`` names another field and the value at which
    this one is read; at any other it alters nothing.
    """
    extra: Any = {"shapes": list(shapes), "content": content, "when": list(when or ())}
    return Field(default, json_schema_extra=extra, **bounds)


def run_only(default: Any = ..., **bounds: Any) -> Any:
    """Declare a settings field that alters no stage's output."""
    return setting(default, shapes=(), **bounds)


class Section(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _plain_text(cls, value: Any) -> Any:
        """Let a leading ~ be the user's home, and refuse what no file of UTF-8 can hold."""
        if not isinstance(value, str | Path):
            return value
        if any("\ud800" <= character <= "\udfff" for character in str(value)):
            raise ValueError("it is not valid Unicode")
        return type(value)(os.path.expanduser(value)) if str(value).startswith("~") else value


class StoreSettings(Section):
    """Where artifacts are kept."""

    path: Path = run_only(Path(".podsquad/store"))
    """Folder of the store; made if it is not there."""


class DataSettings(Section):
    """Which questions to train and to evaluate on."""

    source: Literal["demo", "files", "hub"] = setting("demo", shapes=("download",))
    """The generated demo world, SQuAD v1.1 JSON files, or a dataset of the Hugging Face Hub."""
    train_file: Path | None = setting(None, shapes=("download",), when=("data.source", "files"), content=True)
    """SQuAD v1.1 JSON (also .gz) to train on; for source "files"."""
    validation_file: Path | None = setting(None, shapes=("download",), when=("data.source", "files"), content=True)
    """SQuAD v1.1 JSON (also .gz) to evaluate on; for source "files"."""
    hub_dataset: str = setting("rajpurkar/squad", shapes=("download",), when=("data.source", "hub"), min_length=1)
    """Dataset repository; for source "hub"."""
    hub_revision: str = setting(
        "7b6d24c440a36b6815f21b70d25016731768db1f", shapes=("download",), when=("data.source", "hub")
    )
    """Commit of the dataset repository: a branch's name would let the data change under an unchanged key."""
    expected_train_questions: int | None = setting(None, shapes=("download",), ge=1)
    """Refuse the training split unless it has this many rows; nothing: do not check."""
    expected_validation_questions: int | None = setting(None, shapes=("download",), ge=1)
    """Refuse the validation split unless it has this many rows; nothing: do not check."""
    max_bad_share: float = setting(0.01, shapes=("download",), ge=0.0, le=1.0)
    """Share of unusable records of a split above which the download stops; up to it they are quarantined."""
    demo_seed: int = setting(1984, shapes=("download",), when=("data.source", "demo"), ge=0)
    """Seed of the demo world."""
    demo_train_questions: int = setting(4000, shapes=("download",), when=("data.source", "demo"), ge=10)
    """Number of training questions in the demo world."""
    demo_validation_questions: int = setting(600, shapes=("download",), when=("data.source", "demo"), ge=10)
    """Number of validation questions in the demo world."""


class FeatureSettings(Section):
    """How text becomes token windows."""

    tokenizer: str = setting("FacebookAI/roberta-base", shapes=("tokenize",), content=True, min_length=1)
    """Folder or Hub name of a fast tokenizer; "train" makes a byte-level BPE from the training split."""
    tokenizer_revision: str | None = setting(None, shapes=("tokenize",))
    """Commit of the tokenizer's Hub repository; nothing: the one that podsquad knows for it, else its newest."""
    vocab_size: int = setting(4000, shapes=("tokenize",), when=("features.tokenizer", "train"), ge=262, le=1_000_000)
    """Size of the vocabulary when the tokenizer is trained."""
    max_length: int = setting(384, shapes=("tokenize",), ge=32, le=8192)
    """Longest window, in tokens, special tokens included."""
    stride: int = setting(128, shapes=("tokenize",), ge=0)
    """Tokens of context that neighbouring windows share."""
    label_closing_token: bool = setting(False, shapes=("tokenize",))
    """Label as Hugging Face's run_qa.py does where an answer starts in a window's last context token: it takes the
    closing token for the start."""
    workers: int = run_only(1, ge=1, le=64)
    """Threads that tokenize."""


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
    micro_batch_tokens: int = setting(8192, shapes=("compile", "train"), ge=64)
    """Most tokens that go through the model at once; a step's gradient does not depend on it but for rounding."""
    learning_rate: float = setting(6e-5, shapes=("train",), gt=0.0, le=1.0)
    """Peak learning rate."""
    warmup_share: float = setting(0.25, shapes=("train",), ge=0.0, lt=1.0)
    """Share of the steps over which the rate rises from 0 to its peak; it then falls linearly to 0."""
    weight_decay: float = setting(0.01, shapes=("train",), ge=0.0)
    """Decoupled weight decay of everything but biases and layer norms."""
    beta1: float = setting(0.9, shapes=("train",), ge=0.0, lt=1.0)
    """Adam's decay of the first moment."""
    beta2: float = setting(0.999, shapes=("train",), ge=0.0, lt=1.0)
    """Adam's decay of the second moment."""
    epsilon: float = setting(1e-8, shapes=("train",), gt=0.0)
    """Adam's epsilon."""
    max_gradient_norm: float | None = setting(None, shapes=("train",), gt=0.0)
    """Clip the gradient to this norm; nothing: do not clip, as the reference run."""
    seed: int = setting(1984, shapes=("train",), ge=0, lt=2**63)
    """Seed of the order of samples, of new weights and of dropout."""
    precision: Literal["float32", "bfloat16"] = setting("float32", shapes=("compile", "train", "evaluate"))
    """Arithmetic of the model; weights and optimizer state are float32 in either."""
    drop_last: bool = setting(False, shapes=("train",))
    """Leave out an epoch's last, smaller batch, as the POD does."""
    checkpoint_interval_steps: int = run_only(100, ge=1)
    """Optimizer steps between checkpoints."""


class RuntimeSettings(Section):
    """On what the model is compiled, trained and run."""

    name: Literal["torch"] = setting("torch", shapes=("compile", "train", "evaluate"))
    """The runtime."""
    python: Path | None = run_only(None)
    """Interpreter of the runtime's environment; nothing: this one."""
    device: Literal["auto", "cpu", "cuda"] = setting("auto", shapes=("compile", "train", "evaluate"))
    """Device; "auto" takes CUDA where there is an NVIDIA device."""
    formulation: Literal["packed", "padded"] = setting("packed", shapes=("compile", "train", "evaluate"))
    """Sequences end to end without padding, or stock Hugging Face with padding: the oracle, and for encoders that
    cannot run packed."""
    compiled: Literal["auto", "always", "never"] = setting("auto", shapes=("compile", "train"))
    """Compile the model's program; "auto" does on CUDA and decides for eager on the CPU."""
    threads: int | None = run_only(None, ge=1)
    """CPU threads of the runtime; nothing: one per processor it may use."""
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


class GateSettings(Section):
    """When a challenger may take the champion's place."""

    margin_f1: float = setting(1.0, shapes=("publish",), ge=0.0, le=100.0)
    """Points of F1 by which the challenger may be worse: it is rejected unless a greater loss is excluded. 100 lets
    every one pass."""
    confidence: float = setting(0.95, shapes=("publish",), gt=0.5, lt=1.0)
    """Confidence of each bound: a challenger that is worse by exactly the margin passes with one minus this."""
    resamples: int = setting(10_000, shapes=("publish",), ge=1000, le=1_000_000)
    """Draws of articles from which the bounds come."""
    guarded_slices: tuple[str, ...] = setting(("question_word", "answer_length"), shapes=("publish",))
    """Slices of questions that must not fall, as "question_word:why", or a view for all of its slices; with commas
    between them."""
    slice_margin_f1: float = setting(3.0, shapes=("publish",), ge=0.0, le=100.0)
    """Points of F1 by which a guarded slice may fall: the challenger is rejected where a greater fall is proven."""

    @field_validator("guarded_slices", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name for part in value.split(",") if (name := part.strip()))
        return value

    @field_validator("guarded_slices")
    @classmethod
    def _each_names_a_slice(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[a-z]+(_[a-z]+)*(:[a-z0-9+-]+( [a-z0-9+-]+)*)?", name):
                raise ValueError(f"{name!r} names no slice: write view:slice or a view, as question_word:why")
        return tuple(sorted(set(value)))


class PublishSettings(Section):
    """Where the model goes."""

    target: Literal["folder"] = setting("folder", shapes=("publish",))
    """The kind of publisher."""
    folder: Path = setting(Path(".podsquad/published"), shapes=("publish",))
    """Folder that receives the versions and the pointer to the newest. A destination, so its path is in the key."""
    name: str = setting("roberta-squad", shapes=("publish",), pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
    """Name of the model; its versions lie under <folder>/<name>/."""


class RetrySettings(Section):
    """How a stage is tried again when its failure can heal, and how long it may take."""

    retries: int = run_only(2, ge=0, le=20)
    """Further attempts after a failure that can heal."""
    delay_seconds: float = run_only(10.0, ge=0.0)
    """Wait before the first further attempt; it doubles each time, with jitter."""
    stage_timeout_seconds: float = run_only(6 * 3600.0, gt=0.0)
    """Longest time of one attempt at a stage."""


class Settings(Section):
    """Everything that can be set for one retraining."""

    profile: ProfileName = run_only("demo")
    """The profile these settings began from."""
    store: StoreSettings = StoreSettings()
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    publish: PublishSettings = PublishSettings()
    retry: RetrySettings = RetrySettings()

    @model_validator(mode="after")
    def _sections_fit(self) -> Settings:
        """Hold what must be true between sections; this is the one place for such checks."""
        if self.data.source == "files" and not (self.data.train_file and self.data.validation_file):
            raise ValueError(
                'data.source "files" needs data.train_file and data.validation_file: set both to SQuAD v1.1 JSON files'
            )
        if self.features.stride >= self.features.max_length - 16:
            raise ValueError(
                f"features.stride {self.features.stride} leaves no room to advance in windows of features.max_length "
                f"{self.features.max_length}: lower the stride"
            )
        return self
