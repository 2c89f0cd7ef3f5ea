"""The publish stage: the gate is asked, and what it lets pass is published.

    verdict.json        the gate's verdict and all that it rests on, beside the champion's scores
    publication.json    what the target holds after it: the new version, or the champion that stays
    receipt.json        the receipt of what the target holds, where that is this model

A stage that was killed is run again: where its version is current already, it finishes what is left and keeps the
verdict under which it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import podsquad
from podsquad.config.section import StageName
from podsquad.config.settings import Settings
from podsquad.data.arrow import read_layout
from podsquad.data.dataset import read_origin, read_report
from podsquad.errors import DataError
from podsquad.evaluation.report import read_metrics
from podsquad.publishing.decide import VERDICT_FILE, Challenger, Rescore, decide
from podsquad.publishing.listing import read_digest
from podsquad.publishing.model_card import write_model_card
from podsquad.publishing.receipt import (
    CARD_FILE,
    RECEIPT_FILE,
    encode_receipt,
    make_receipt,
    read_stage_record,
    training_record,
    version_key,
)
from podsquad.publishing.target import Champion, Publication, Smoke, Target, TargetState
from podsquad.publishing.verdict_form import nothing_new, told
from podsquad.publishing.version_files import collect_files, model_digest
from podsquad.store.contents import digest_file
from podsquad.store.durable import encode_json, parse_object, write_bytes, write_json

PUBLICATION_FILE = "publication.json"
_UNCHANGED = "Nothing is new: the target holds the model that these inputs make."
_PUT_RIGHT = "What the target holds of it is put right:"
_MADE_ANEW = "What the target holds of it cannot be made again, so the same model becomes a version of its own:"
_DECISION_FILE = "decision.json"  # in the work folder, which outlives a kill


@dataclass(frozen=True)
class PublishOrder:
    """What is to be published, and the world in which that happens."""

    settings: Settings
    inputs: Mapping[StageName, Path]
    """The artifacts of the five stages before, by stage."""
    output: Path
    work: Path
    target: Target
    smoke: Smoke
    rescore: Rescore
    earlier: Iterable[Mapping[str, Any]]
    """Records of former verdicts."""
    remember: Callable[[Mapping[str, Any]], None]
    """Keeps this one for those that come, with its time, profile, evaluation and publication."""
    log: Callable[[str], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class _Acted(NamedTuple):
    """What was done: the verdict as it is told, and what the target holds now."""

    verdict: dict[str, Any]
    publication: Publication
    receipt: bytes
    """That of what the target holds; empty: it is another model."""


def publish_challenger(order: PublishOrder) -> None:
    """Ask the gate, publish what it lets pass, and write the three files into ``order.output``.

    Raises what the target, the smoke question and the gate raise; then either nothing was published, or the same again
    finishes it.
    """
    files = collect_files(order.inputs["train"] / "model", order.inputs["evaluate"], order.inputs["tokenize"])
    digests = {name: digest_file(path).sha256 for name, path in files.items()}
    challenger = Challenger(model_digest(digests), order.inputs["evaluate"], read_metrics(order.inputs["evaluate"]))
    state = order.target.state()
    verdict = _begun(order, state)
    if verdict is None:
        decision = decide(
            challenger,
            order.target,
            state,
            order.settings.gate,
            rescore=order.rescore,
            earlier=order.earlier,
            work=order.work,
            log=order.log,
        )
        verdict = told(
            decision.result,
            decision.champion,
            challenger.metrics,
            is_published=decision.publishes,
            policy=decision.policy,
        )
    if not verdict["is_published"]:
        # Nobody else would while nothing is published. First: that a killed publisher's tag is missing is no damage.
        order.target.settle()
    wrong = _what_is_wrong(order, state.champion) if verdict["verdict"] == "unchanged" and state.champion else ""
    if wrong:
        verdict |= {"policy": f"{_PUT_RIGHT} {wrong}."}
    order.log(f"{verdict['verdict']}: {verdict['reason']}")
    verdict, publication, receipt = _act(order, verdict, files, state, wrong)
    # Before the artifact is there: after a kill in between it is remembered twice, which counts once.
    order.remember(
        verdict
        | {
            "at": order.now().isoformat(timespec="seconds"),
            "profile": order.settings.profile,
            "evaluation": read_stage_record(order.inputs["evaluate"]).digest,
            "publication": asdict(publication),
        }
    )
    if receipt:
        write_bytes(order.output / RECEIPT_FILE, receipt)
    write_json(order.output / PUBLICATION_FILE, asdict(publication))
    write_json(order.output / VERDICT_FILE, verdict)


def read_verdict(artifact: Path, *, is_reused: bool = False) -> dict[str, Any]:
    """Return a publish artifact's verdict. Raises DataError.

    Where a run reused the artifact, what an earlier run published is unchanged; what the gate did not let pass then is
    told as it was, for the champion is still the same.
    """
    verdict = _read(artifact / VERDICT_FILE)
    if is_reused and (verdict["is_published"] or verdict["verdict"] == "unchanged"):
        model, held = verdict["challenger_digest"], read_publication(artifact)
        metrics = verdict["challenger"] | {"emulated": verdict.get("emulated", False)}
        return nothing_new(_UNCHANGED, held, model, metrics, verdict)
    return verdict


def read_publication(artifact: Path) -> Publication:
    """Return what the target held after a publish stage. Raises DataError."""
    record = _read(artifact / PUBLICATION_FILE)
    try:
        return Publication(**record)
    except TypeError as error:
        raise DataError(
            f"{artifact / PUBLICATION_FILE} is of another form: {error}",
            why="another version of podsquad wrote it, or it was changed",
            do="run again with --refresh publish",
        ) from error


def why_stale(artifact: Path, target: Target) -> str:
    """Say why a publish artifact's verdict must be found anew: its target holds something else now."""
    publication = read_publication(artifact)
    if not publication.key:
        return "the target holds a model now" if target.state().champion else ""
    if not (why := target.why_not_held(publication.key)):
        return ""
    return why if read_verdict(artifact)["is_published"] else f"the champion it was judged against changed: {why}"


def _begun(order: PublishOrder, state: TargetState) -> dict[str, Any] | None:
    """Return the verdict of an attempt that was cut short after its version had become current."""
    try:
        begun = _read(order.work / _DECISION_FILE)
    except DataError:
        return None
    if state.champion is None or state.champion.key != begun.get("key"):
        return None
    order.log(f"{state.champion.tag} is current already: the attempt that published it was cut short")
    verdict: dict[str, Any] = begun["verdict"]
    return verdict


def _act(
    order: PublishOrder, verdict: dict[str, Any], files: Mapping[str, Path], state: TargetState, wrong: str
) -> _Acted:
    """Do what follows from the verdict."""
    champion, target = state.champion, order.target
    if verdict["verdict"] == "unchanged" and champion is not None:
        return _keep(order, verdict, files, champion, wrong, state.expected)
    if not verdict["is_published"]:
        return _Acted(verdict, target.describe(champion.key if champion else ""), b"")
    return _publish(order, verdict, _with_card(order, _gate_in_brief(verdict), files), state.expected)


def _keep(
    order: PublishOrder,
    verdict: dict[str, Any],
    files: Mapping[str, Path],
    champion: Champion,
    wrong: str,
    expected: str,
) -> _Acted:
    """Publish nothing where the champion is this very model, but put right what was damaged."""
    receipt, is_told = _receipt_of(champion)
    if not wrong:
        return _Acted(verdict, order.target.describe(champion.key), receipt)
    order.log(wrong)
    if is_told and champion.receipt is not None:
        own = _with_card(order, champion.receipt["gate"], files)
        if own[RECEIPT_FILE].read_bytes() == receipt:
            return _Acted(verdict, order.target.publish(champion.key, own, order.smoke, expected), receipt)
    verdict = verdict | {"is_published": True, "policy": f"{_MADE_ANEW} {wrong}."}
    return _publish(order, verdict, _with_card(order, _gate_in_brief(verdict), files), expected)


def _what_is_wrong(order: PublishOrder, champion: Champion) -> str:
    """Say what of the champion is not as it was published; empty: nothing."""
    _, is_told = _receipt_of(champion)
    return order.target.why_not_held(champion.key) or ("" if is_told else f"the receipt of {champion.tag} is damaged")


def _receipt_of(champion: Champion) -> tuple[bytes, bool]:
    """Return the bytes of the champion's receipt, and whether they are those that it was published with."""
    receipt = b"" if champion.receipt is None else encode_json(champion.receipt)
    return receipt, bool(receipt) and version_key(receipt) == champion.key


def _publish(order: PublishOrder, verdict: dict[str, Any], files: Mapping[str, Path], expected: str) -> _Acted:
    receipt = files[RECEIPT_FILE].read_bytes()
    key = version_key(receipt)
    write_json(order.work / _DECISION_FILE, {"key": key, "verdict": verdict})
    publication = order.target.publish(key, files, order.smoke, expected)
    order.log(f"published {publication.url}")
    return _Acted(verdict, publication, receipt)


def _with_card(order: PublishOrder, gate: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Path]:
    """Return all files of the version; card and receipt are written into the work folder."""
    dataset, features, model = (order.inputs[name] for name in ("download", "tokenize", "train"))
    training, metrics = training_record(model), read_metrics(order.inputs["evaluate"])
    folder = order.work / "version"
    folder.mkdir(exist_ok=True)
    card = write_model_card(
        name=order.settings.publish.name,
        settings=order.settings.model_dump(mode="json"),
        metrics=metrics,
        training=training,
        origin=read_origin(dataset),
        report=read_report(dataset),
        layout=read_layout(features),
        gate=gate,
        architecture=(_read(model / "model/config.json").get("architectures") or [""])[0],
    )
    (folder / CARD_FILE).write_bytes(card.encode("utf-8"))
    files = dict(files) | {CARD_FILE: folder / CARD_FILE}
    receipt = make_receipt(
        stages={name: read_stage_record(path) for name, path in order.inputs.items()},
        origin=read_origin(dataset),
        training=training,
        metrics=metrics,
        gate=gate,
        published={name: read_digest(path) for name, path in files.items()},
        version=podsquad.__version__,
    )
    (folder / RECEIPT_FILE).write_bytes(encode_receipt(receipt))
    return files | {RECEIPT_FILE: folder / RECEIPT_FILE}


def _gate_in_brief(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the receipt tells of the gate: no count and no time, so that the same decision is the same bytes."""
    names = ("verdict", "cause", "reason", "evaluation_digest", "margin_f1", "slice_margin_f1", "resamples", "seed")
    champion = verdict["champion"]
    return {name: verdict[name] for name in (*names, "overall", "slices")} | {
        "champion": champion["tag"] if champion else None,
        "is_rescored": bool(champion and champion["is_rescored"]),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        record = parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {path}: {error}",
            why="it was changed, or a kill cut it short",
            do="run again: what it belongs to is built anew",
        ) from error
    return record
