"""What the three verbs share: a job's settings resolved, its model, and the trainer over its features.

Runs on Python 3.8.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podsquad.data.arrow import Features, read_layout
from podsquad.errors import SettingsError
from podsquad.runtimes.ipu.checks import check_plan, check_prediction, raise_first_failure
from podsquad.runtimes.ipu.instances import Instance
from podsquad.runtimes.ipu.old_config import resolve_ipu
from podsquad.runtimes.ipu.plan import graph_of
from podsquad.runtimes.ipu.pod import ModelSizes, PodPlan
from podsquad.runtimes.ipu.sdk import Sdk, load_sdk
from podsquad.runtimes.job import Events, Job


@dataclass
class PodWork:
    """One job with everything that its verb needs before a model is made."""

    job: Job
    settings: dict[str, Any]  # the job's, with what ipu.config_file says
    plan: PodPlan
    layout: Mapping[str, Any]
    sdk: Sdk
    instance: Instance = field(default_factory=Instance.of_this_process)

    @classmethod
    def begin(cls, job: Job, events: Events) -> PodWork:
        """Load the SDK, resolve the settings and say what was brought up to date.

        Raises SettingsError, InputMissingError, DataError as those do.
        """
        sdk = load_sdk(job.settings["runtime"], job.settings["ipu"])
        if sdk.is_emulated:
            events.log("poptorch is emulated: no IPU is used, and times are this CPU's, never an IPU's")
        settings = dict(job.settings)
        settings["ipu"], notes = resolve_ipu(settings["ipu"])
        for note in notes:
            events.log(note)
        plan = PodPlan.of(settings["ipu"], settings["training"]["batch_size"])
        work = cls(job, settings, plan, read_layout(job.inputs["features"]), sdk)
        work.check_processes()
        if not work.instance.is_first:  # the work folder, where its output is, outlives an attempt
            shutil.rmtree(str(work.own / "output"), ignore_errors=True)
        return work

    @property
    def features_folder(self) -> Path:
        """The features' folder."""
        return Path(self.job.inputs["features"])

    @property
    def own(self) -> Path:
        """This instance's part of the work folder, which hosts share: the first one's is the whole."""
        work = Path(self.job.work)
        return work if self.instance.is_first else work / f"instance-{self.instance.index}"

    @property
    def output(self) -> Path:
        """Where this instance writes what it makes: the output folder takes the first one's alone."""
        folder = Path(self.job.output) if self.instance.is_first else self.own / "output"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def loss_features(self) -> int:
        """Features that a step's loss is the mean over: the last micro-batch of each replica of this process."""
        return self.plan.micro_batch * self.plan.replication // self.instance.count

    @property
    def scratch(self) -> Path:
        """A folder for what libraries write of their own accord."""
        return self.own / "trainer"

    def check_processes(self) -> None:
        """Raise SettingsError unless Open MPI started as many processes as the plan has hosts, or none."""
        count, wanted = self.instance.count, 1 if self.job.verb == "predict" else self.plan.num_hosts
        if count not in (1, wanted):
            raise SettingsError(
                f"this is one of {count} processes that Open MPI started, but to {self.job.verb} takes {wanted}",
                why="poprun starts one for each host; what started these is something else, podsquad itself under MPI "
                "for example",
                do="start podsquad without mpirun or poprun: it starts poprun where the plan asks for several hosts",
            )

    def check(self, config: Any) -> None:
        """Raise SettingsError unless the job's verb can run by the plan with the model of that config."""
        sizes = ModelSizes.of(config.to_dict())
        if self.job.verb == "predict":
            raise_first_failure(check_prediction(self.plan, sizes))
            return
        raise_first_failure(
            check_plan(
                self.plan,
                self.settings,
                max_length=self.layout["max_length"],
                sizes=sizes,
                num_features=int(self.layout["splits"]["train"]["num_features"]),
            )
        )

    def graph(self, config: Any) -> dict[str, Any]:
        """Return what shapes the programs for the model of that config."""
        return graph_of(self.plan, self.settings, self.layout, config.to_dict(), self.sdk.versions["poptorch"])

    def features(self, split: str) -> Features:
        """Return a split of the features."""
        return Features(self.features_folder, split)

    def collator(self, features: Features, config: Any, *, with_labels: bool) -> Any:
        """Return what turns rows of ``features`` into tensors for the model of that config."""
        from podsquad.runtimes.base_model import takes_token_types
        from podsquad.runtimes.ipu.rows import Collator

        padding = self.layout["pad_token_id"]
        return Collator(
            features,
            max_length=self.layout["max_length"],
            pad_token_id=config.pad_token_id if padding is None else padding,
            with_labels=with_labels,
            with_token_types=takes_token_types(config, self.layout),
        )

    def trainer(self, model: Any, programs: Path, *, compile_only: bool = False, **given: Any) -> Any:
        """Return the trainer of ``model``; with ``compile_only`` it fills ``programs`` and ends the interpreter.

        Raises SettingsError for a model that optimum-graphcore has no pipelined class of.
        """
        from podsquad.runtimes.ipu.pod_config import make_arguments, make_pod_config
        from podsquad.runtimes.ipu.trainer import PodTrainer

        shutil.rmtree(str(self.scratch), ignore_errors=True)
        seed = int(self.settings["training"]["seed"])
        try:
            return PodTrainer(
                programs=programs,
                model=model,
                ipu_config=make_pod_config(
                    self.plan, self.settings["ipu"], seed=seed, programs=programs, instance=self.instance
                ),
                args=make_arguments(self.plan, self.settings, folder=self.scratch, compile_only=compile_only),
                **given,
            )
        except KeyError as error:
            if "pipelined version" not in str(error):
                raise
            raise SettingsError(
                f"optimum-graphcore cannot lay {type(model).__name__} over IPUs",
                why="it has no pipelined class of that model",
                do="set model.base to a RoBERTa or a BERT",
            ) from error
