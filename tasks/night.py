"""One run of the stages: what it was asked for, what came of each stage, and its page."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podsquad.config.load import load_settings
from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from podsquad.errors import PodsquadError, TemporaryError
from podsquad.history import PastRun, look_at, past_runs
from podsquad.nights import nights_view
from podsquad.plan import make_plan
from podsquad.preflight import first_failure, run_checks
from podsquad.publishing.places import target_of
from podsquad.publishing.publish import read_verdict
from podsquad.publishing.target import TargetState
from podsquad.reporting import marked
from podsquad.stages.resolved import mark_of
from podsquad.unchanged import Unchanged, find_unchanged
from podsquad.views import View, emulated_view, plan_view, publication_view, stage_views, verdict_view
from tasks.hub_token import hub_token
from tasks.page import show, tag_run
from tasks.reference import ArtifactReference
from tasks.stage_task import configured, refreshed, this_run


class Night:
    """The stages of one run, in the order in which ``run`` is called."""

    def __init__(self, settings: Settings, refresh: frozenset[StageName]) -> None:
        self.settings = settings
        self.outcomes: list[ArtifactReference] = []
        self._refresh = refresh
        self.folders: dict[StageName, Path] = {}

    @classmethod
    def begin(
        cls, profile: str, overrides: Mapping[str, Any], refresh: frozenset[StageName], *, publish: bool, note: str
    ) -> Night:
        """Check everything that can be known beforehand, and show what the run is going to do.

        Raises SettingsError and what the pre-flight finds; then nothing has run.
        """
        tag_run(profile)
        if note.strip():
            logging.getLogger("podsquad.run").info("note: %s", note.strip())
        settings = load_settings(profile, overrides, os.environ, set_by="the form").settings

        def planned() -> list[View]:
            plan = make_plan(settings, dict.fromkeys(refresh, this_run()))
            return [plan_view(plan, note=note, changed=overrides, is_published=publish)]

        with hub_token(settings.publish.token_block if publish else ""):
            if failure := first_failure(run_checks(settings, publish=publish)):
                raise failure
            show(profile, planned)
        return cls(settings, refresh)

    def find_unchanged(self) -> Unchanged | None:
        """Return the champion if this run would make it again on a store that knows nothing of it, and show that."""
        if self._refresh:
            return None
        with hub_token(self.settings.publish.token_block):
            found = find_unchanged(self.settings, logging.getLogger("podsquad.run").info)
        if found:
            verdict = found.verdict

            def views() -> list[View]:
                made = [verdict_view(verdict), publication_view(found.publication, verdict)]
                return [emulated_view(view) for view in made] if "emulated" in found.receipt.hardware.kind else made

            show(self.settings.profile, views)
            tag_run(f"verdict:{verdict['verdict']}")
        return found

    def run(self, stage: Any, *inputs: ArtifactReference) -> ArtifactReference:
        """Run a stage's task, or take what an earlier run made, and show what there is to see.

        Raises what the stage raises, TemporaryError when it took too long.
        """
        with hub_token(self.settings.publish.token_block if stage.name == "publish" else ""):
            return self._run(stage, *inputs)

    def _run(self, stage: Any, *inputs: ArtifactReference) -> ArtifactReference:
        refresh = self._refresh
        if stage.name in refresh and refreshed(stage.name, self.settings, inputs):
            refresh -= {stage.name}  # then it is shown as cached
        task = configured(stage, self.settings, refresh)
        state = task(self.settings, *inputs, refresh=refresh, return_state=True)
        if state.name == "TimedOut":
            raise TemporaryError(
                f"the stage {stage.name} took longer than {self.settings.retry.stage_timeout_seconds:g} seconds",
                why="that is what retry.stage_timeout_seconds allows one attempt",
                do="run the same again: it goes on from there; or allow more time",
            )
        reference: ArtifactReference = state.result()
        if state.name == "Cached":
            reference = reference.model_copy(update={"is_reused": True, "reason": "unchanged", "seconds": 0.0})
            told = marked(mark_of(self.settings, stage.name), f"{stage.name} is reused: unchanged")
            logging.getLogger(f"podsquad.{stage.name}").info("%s", told)
        self.outcomes.append(reference)
        self.folders[reference.stage] = reference.artifact().path
        show(
            self.settings.profile,
            lambda: stage_views(
                reference.stage, self.folders, self._past, self.settings.publish, is_reused=reference.is_reused
            ),
        )
        if reference.stage == "publish":
            verdict = read_verdict(self.folders["publish"], is_reused=reference.is_reused)
            tag_run(f"verdict:{verdict['verdict']}")
        return reference

    def show_all_nights(self) -> None:
        """Show the scores and verdicts of this night and of those before."""
        show(self.settings.profile, lambda: [nights_view(self.settings.profile, self._past())])

    def _past(self) -> list[PastRun]:
        publish = self.settings.publish
        return past_runs(self.settings.store.path.absolute(), look_at(publish, self._held()))

    def _held(self) -> TargetState | None:
        """Return what the repository on the Hub holds now; None where it is not published there, or is silent."""
        publish, log = self.settings.publish, logging.getLogger("podsquad.run").info
        if publish.target != "hub":
            return None  # folders are looked at one by one
        try:
            with hub_token(publish.token_block), target_of(publish, log) as target:
                return target.state()
        except PodsquadError as error:
            log("what is current is not known: %s", error.what)
            return None
