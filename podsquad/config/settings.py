"""Everything that can be set for one retraining, and what must be true between the groups of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import model_validator

from podsquad.config.data_settings import DataSettings, FeatureSettings
from podsquad.config.ipu_settings import IpuSettings
from podsquad.config.publish_settings import GateSettings, PublishSettings
from podsquad.config.section import Section, run_only
from podsquad.config.training_settings import EvaluationSettings, ModelSettings, RuntimeSettings, TrainingSettings

ProfileName = Literal["demo", "cpu", "gpu", "pod16", "pod16-emulated"]
PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)


class StoreSettings(Section):
    """Where artifacts are kept."""

    path: Path = run_only(Path(".podsquad/store"))
    """Folder of the store; made if it is not there."""
    lease_seconds: float = run_only(60.0, ge=1.0)
    """A run that builds a stage and gives no sign of life for this long (a stopped process, a dead host) is taken over
    by the next run that wants the same."""


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
    ipu: IpuSettings = IpuSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    gate: GateSettings = GateSettings()
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
        unfit = {"torch": "float16", "ipu": "bfloat16"}[self.runtime.name]
        if self.training.precision == unfit:
            raise ValueError(
                f"training.precision {unfit} is not for runtime.name {self.runtime.name}: set it to float32 or "
                f"{'bfloat16' if self.runtime.name == 'torch' else 'float16'}"
            )
        return self
