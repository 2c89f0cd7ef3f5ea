"""What a person sees of a run, as Markdown and pictures: plan, data, loss, slices, scores, publication."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from podsquad.charts import TITLES, data_uri, draw_loss, draw_slices
from podsquad.config.publish_settings import PublishSettings
from podsquad.config.section import StageName
from podsquad.data.dataset import read_origin, read_report
from podsquad.evaluation.report import read_history, read_metrics
from podsquad.history import PastRun, champion_for
from podsquad.plan import Plan
from podsquad.publishing.publish import read_publication, read_verdict
from podsquad.publishing.receipt import training_record
from podsquad.publishing.target import Publication
from podsquad.reporting import marked

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class View:
    """One thing to show. ``name`` is the same every night, so that the nights make a series."""

    name: str
    title: str  # what can be told in one line
    markdown: str  # pictures stand in it whole


def plan_view(plan: Plan, *, note: str, changed: Mapping[str, Any], is_published: bool) -> View:
    """Show what a run is about to do and why, and what was asked for."""
    stages = [stage for stage in plan.stages if is_published or stage.stage != "publish"]
    num_run = sum(stage.action == "run" for stage in stages)
    does = f"{num_run} of {len(stages)} stages run" if num_run else "nothing is new: every stage is reused"
    parts = [f"Profile **{escaped(plan.profile)}**: **{does}**."]
    if note.strip():
        parts.append("\n".join(f"> {escaped(line)}" for line in note.strip().splitlines()))
    if changed:
        named = ", ".join(f"{escaped(name)} = {escaped(str(value))}" for name, value in changed.items())
        parts.append(f"Changed for this run: {named}.")
    rows = [
        (stage.stage, f"**{stage.action}**" if stage.action == "run" else stage.action, escaped(stage.reason))
        for stage in stages
    ]
    parts.append(table(("stage", "run or reuse", "reason"), rows))
    if not is_published:
        parts.append("The run ends after evaluate: publish is switched off.")
    figures = [(escaped(each.name), escaped(each.value), escaped(each.how)) for each in plan.estimates]
    parts.append(table(("estimate", "value", "how it comes about"), figures))
    return View("plan", does.capitalize(), "\n\n".join(parts))


def stage_views(
    stage: StageName,
    folders: Mapping[StageName, Path],
    runs: Callable[[], list[PastRun]],
    settings: PublishSettings,
    *,
    is_reused: bool = False,
) -> list[View]:
    """Show what a stage made; ``folders`` are the artifacts of this stage and of those before.

    What an emulation had part in says so. ``runs`` is asked for the past runs where they are needed. Raises DataError,
    InternalError for an artifact that cannot be read.
    """
    views = _views_of(stage, folders, runs, settings, is_reused=is_reused)
    if "train" in folders and training_record(folders["train"]).get("emulated"):
        return [emulated_view(view) for view in views]
    return views


def emulated_view(view: View) -> View:
    """Return a view of what an emulation had part in, which says so first."""
    return replace(
        view,
        title=marked("emulated", view.title),
        markdown=f"**Emulated**: no IPU was used, and no time here is an IPU's.\n\n{view.markdown}",
    )


def _views_of(
    stage: StageName,
    folders: Mapping[StageName, Path],
    runs: Callable[[], list[PastRun]],
    settings: PublishSettings,
    *,
    is_reused: bool,
) -> list[View]:
    folder = folders[stage]
    if stage == "download":
        return [data_view(read_report(folder), read_origin(folder))]
    if stage == "train":
        return [training_view([entry["loss"] for entry in read_history(folder)], training_record(folder))]
    if stage == "evaluate":
        metrics = read_metrics(folder)
        past = runs()
        this = next((run.evaluation for run in past if run.evaluation_path == str(folder)), "")
        champion = champion_for(past, this, settings)
        return [scores_view(metrics, champion)]
    if stage == "publish":
        verdict = read_verdict(folder, is_reused=is_reused)
        return [verdict_view(verdict), publication_view(read_publication(folder), verdict)]
    return []


def data_view(report: Mapping[str, Any], origin: Mapping[str, Any]) -> View:
    """Show how many records of each split were good, and why the others were set aside."""
    splits: Mapping[str, Mapping[str, Any]] = report["splits"]

    def row(title: str, tell: Callable[[Mapping[str, Any]], str]) -> tuple[str, ...]:
        return (title, *(tell(split) for split in splits.values()))

    def spread(name: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda split: f"{split[name]['p50']:,} ({split[name]['min']:,} to {split[name]['max']:,})"

    def bad(why: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda split: f"{split['reasons'].get(why, 0):,}"

    reasons = {reason for split in splits.values() for reason in split["reasons"]}
    rows = [
        row("questions kept", lambda split: f"**{split['kept']:,}**"),
        row("set aside", lambda split: f"{split['quarantined']:,} of {split['records']:,}"),
        *(row(f"- {escaped(why)}", bad(why)) for why in sorted(reasons)),
        row("articles", lambda split: f"{split['articles']:,}"),
        row("contexts", lambda split: f"{split['contexts']:,}"),
        row("characters of a context", spread("context_characters")),
        row("characters of a question", spread("question_characters")),
        row("words of an answer", spread("answer_words")),
    ]
    told = ", ".join(f"{escaped(name)} {escaped(str(value))}" for name, value in origin.items() if _is_plain(value))
    parts = [f"Origin: {told}.", table(("", *splits), rows, right=tuple(splits)), "Lengths: median (least to most)."]
    if shared := report["contexts_in_several_splits"]:
        parts.append(f"**{shared:,} contexts stand in more than one split**: the scores on them are too kind.")
    kept, bad_ones = (sum(split[name] for split in splits.values()) for name in ("kept", "quarantined"))
    return View("data", f"{kept:,} questions kept, {bad_ones:,} set aside", "\n\n".join(parts))


def training_view(losses: Sequence[float], training: Mapping[str, Any]) -> View:
    """Show the training loss as a picture, and what the training recorded of itself."""
    known = (
        ("steps", "steps", ","),
        ("mean_loss", "mean loss", ".4f"),
        ("final_loss", "last loss", ".4f"),
        ("num_parameters", "parameters", ","),
        ("seconds", "seconds", ",.0f"),
        ("samples_per_second", "samples per second", ",.1f"),
        ("resumed_from", "resumed from step", ","),
    )
    figures = {name: format(training[key], how) for key, name, how in known if training.get(key)}
    if device := training.get("device_name") or training.get("device"):
        figures["device"] = escaped(str(device))
    title = ", ".join(
        f"{name} {figures[name]}" for name in ("last loss", "steps", "samples per second") if name in figures
    )
    picture = f"![Training loss]({data_uri(draw_loss(losses))})"
    return View(
        "training", title, f"{picture}\n\n{table(('figure', 'value'), list(figures.items()), right=('value',))}"
    )


def scores_view(metrics: Mapping[str, Any], champion: PastRun | None) -> View:
    """Show the scores, all and by slice, beside those of the champion."""
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]] = metrics.get("slices", {})
    rows = [_score_row("**all**", metrics, vars(champion) if champion else {})]
    for view, parts in slices.items():
        theirs = champion.slices.get(view, {}) if champion else {}
        rows.append([f"**{TITLES.get(view, view)}**", *[""] * 6])
        rows += [_score_row(name, part, theirs.get(name, {})) for name, part in parts.items()]
    columns: Sequence[str] = (
        "",
        "questions",
        "exact match",
        "F1",
        "champion's exact match",
        "champion's F1",
        "F1 gained",
    )
    if champion:
        said = (
            f"Champion: version `{champion.tag}` of {champion.when:%Y-%m-%d %H:%M} UTC, "
            f"{'which is published now' if champion.is_current else 'which was published before this one'}."
        )
        if champion.num_questions != metrics["num_questions"]:
            said += f" **It answered other questions ({champion.num_questions:,}): the scores cannot be compared.**"
    else:
        columns, rows = columns[:4], [row[:4] for row in rows]
        said = "No champion to compare with: this store has published nothing else there."
    title = f"Exact match {metrics['exact_match']:.2f}, F1 {metrics['f1']:.2f}"
    if champion:
        title += f" (champion {champion.f1:.2f})"
    picture = f"![F1 by kind of question]({data_uri(draw_slices(slices, metrics['f1']))})"
    return View("scores", title, f"{said}\n\n{table(columns, rows, right=columns[1:])}\n\n{picture}")


def verdict_view(verdict: Mapping[str, Any]) -> View:
    """Show the gate's verdict, what it rests on, and the champion's scores beside the challenger's."""
    name = verdict["verdict"] + (f" ({verdict['cause']})" if verdict.get("cause") else "")
    parts = [f"**{escaped(name.capitalize())}.** {escaped(verdict['reason'])}"]
    if verdict.get("policy"):
        parts.append(escaped(verdict["policy"]))
    champion, challenger = verdict.get("champion"), verdict["challenger"]
    rows = [("challenger", "", *_scores_of(challenger))]
    if champion:
        rows.append(("champion", f"`{champion['tag']}`", *_scores_of(champion)))
    heads = ("", "version", "questions", "exact match", "F1")
    parts.append(table(heads, rows, right=heads[2:]))
    if champion and champion.get("is_rescored"):
        parts.append("The evaluation set changed: the champion was scored again on this one.")
    if overall := verdict.get("overall"):
        figures: list[tuple[str, Mapping[str, Any], str]] = [("all", overall, "")]
        figures += [
            (part["name"], part["difference"], part["state"]) for part in verdict["slices"] if part["difference"]
        ]
        compared = [
            (
                escaped(which),
                f"{each['num_questions']:,}",
                f"{each['difference_f1']:+.2f}",
                f"{each['lower_f1']:+.2f} to {each['upper_f1']:+.2f}",
                f"{each['confidence']:.4g}",
                escaped(state.replace("_", " ")),
            )
            for which, each, state in figures
        ]
        columns = ("questions of", "number", "F1 gained", "bounds", "confidence of each", "")
        parts.append(table(columns, compared, right=columns[1:5]))
        parts.append(
            f"Margin {verdict['margin_f1']:g} points, {verdict['slice_margin_f1']:g} for a guarded slice. An equally "
            f"good model passes {verdict['pass_probability_if_equal']:.0%} of the time."
        )
    if (uses := verdict["num_earlier_uses"]) is not None:
        parts.append(f"Other challengers that were judged on these questions before: {uses:,}.")
    return View("verdict", name.capitalize(), "\n\n".join(parts))


def publication_view(publication: Publication, verdict: Mapping[str, Any]) -> View:
    """Show what the target holds after the run, as a link where it has an address."""
    is_new = verdict["is_published"]
    rows = [
        ("published" if is_new else "stays published", _place(publication.url) if publication.url else "nothing"),
        ("users get", _place(publication.current)),
    ]
    content = table(("", "place"), rows)
    if publication.key:
        hub = f"--set publish.target=hub --set publish.repository={shlex.quote(publication.place)}"
        which = hub if publication.target == "hub" else f"--model {shlex.quote(publication.current)}"
        ask = f"podsquad ask {which} \\\n  --context 'Ada wrote it.' 'Who wrote it?'"
        content += f"\n\nAsk it:\n\n```\n{ask}\n```"
    title = f"Version {publication.tag}" if publication.tag else "Nothing"
    return View("publication", title + ("" if is_new else " stays"), content)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return a Markdown table; cells are Markdown, and columns named in ``right`` are set flush right."""
    rules = ["---:" if column in right else "---" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rules, *rows))


def escaped(text: str) -> str:
    """Return text in one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _score_row(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    row = [name, f"{ours['num_questions']:,}", f"{ours['exact_match']:.2f}", f"{ours['f1']:.2f}"]
    if not theirs:
        return [*row, "-", "-", "-"]
    return [*row, f"{theirs['exact_match']:.2f}", f"{theirs['f1']:.2f}", f"{ours['f1'] - theirs['f1']:+.2f}"]


def _scores_of(contender: Mapping[str, Any]) -> tuple[str, str, str]:
    if contender.get("f1") is None:
        return "-", "-", "-"
    return f"{contender['num_questions']:,}", f"{contender['exact_match']:.2f}", f"{contender['f1']:.2f}"


def _place(place: str) -> str:
    return f"[{escaped(place)}]({place})" if place.startswith(("http://", "https://")) else f"`{place}`"


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)
