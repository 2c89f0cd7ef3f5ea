"""The gate: each verdict, exact examples, what does not matter, and its error rates by simulation."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from podsquad.config.publish_settings import GateSettings
from podsquad.errors import DataError, SettingsError
from podsquad.evaluation.gate import Contender, GateResult, count_uses, guarded_slices, judge
from podsquad.evaluation.scored import ScoredQuestions
from podsquad.evaluation.slices import VIEWS
from tests.evaluation.made_up_scores import MadeUpScores, make_scores, sizes_like_squad

UNGUARDED = GateSettings(guarded_slices=(), resamples=1000)
WHY = GateSettings(guarded_slices=("question_word:why",), resamples=1000)


def contender(name: str, scores: ScoredQuestions | None, evaluation: str = "the same questions") -> Contender:
    return Contender(f"digest of {name}", evaluation, scores)


def judge_scores(
    scores: MadeUpScores, settings: GateSettings = UNGUARDED, slices: dict[str, list[str]] | None = None, seed: int = 1
) -> GateResult:
    challenger, champion = scores.contenders(slices)
    return judge(contender("challenger", challenger), contender("champion", champion), settings, seed=seed)


def scored(f1: list[float], articles: list[str], **slices: list[str]) -> ScoredQuestions:
    return ScoredQuestions([f"q{row}" for row in range(len(f1))], articles, np.array(f1), slices)


def test_the_first_model_passes() -> None:
    result = judge(contender("challenger", None), None, UNGUARDED, seed=1)
    assert (result.verdict, result.passes, result.champion_digest) == ("first", True, None)
    assert result.reason == "There is no champion yet, so the challenger is the first."


def test_the_same_weights_are_unchanged_whatever_the_questions() -> None:
    champion = contender("same", None, "other questions")
    result = judge(contender("same", scored([1.0], ["a"])), champion, UNGUARDED, seed=1)
    assert (result.verdict, result.passes) == ("unchanged", False)
    assert "(digest digest of sa)" in result.reason


def test_other_questions_are_incomparable() -> None:
    scores = scored([1.0], ["a"])
    champion = contender("champion", scores, "last year's questions")
    result = judge(contender("challenger", scores), champion, UNGUARDED, seed=1)
    assert (result.verdict, result.passes, result.overall) == ("incomparable", False, None)
    assert result.reason.startswith("The evaluation set changed since the champion was scored")


def test_a_champion_without_scores_is_incomparable() -> None:
    result = judge(contender("challenger", scored([1.0], ["a"])), contender("champion", None), UNGUARDED, seed=1)
    assert result.verdict == "incomparable"
    assert result.reason.startswith("The champion's scores per question cannot be had")


def test_an_example_by_hand() -> None:
    # Twenty articles of two questions; the challenger wins one of each article's two: 50 points, and no spread.
    articles = [f"a{row // 2}" for row in range(40)]
    champion, challenger = scored([0.0, 0.5] * 20, articles), scored([1.0, 0.5] * 20, articles)
    result = judge(contender("challenger", challenger), contender("champion", champion), UNGUARDED, seed=1)
    assert result.overall is not None
    assert (result.overall.num_questions, result.overall.num_articles) == (40, 20)
    assert (result.overall.champion_f1, result.overall.challenger_f1) == (25.0, 75.0)
    assert (result.overall.lower_f1, result.overall.difference_f1, result.overall.upper_f1) == (50.0, 50.0, 50.0)
    assert (result.verdict, result.cause) == ("promoted", None)
    assert result.reason == (
        "F1 went from 25.00 to 75.00 (+50.00): with 95 % confidence the challenger is better by at least 50.00."
    )
    back = judge(contender("champion", champion), contender("challenger", challenger), UNGUARDED, seed=1)
    assert (back.verdict, back.cause, back.probability_worse) == ("rejected", "worse", 1.0)
    assert back.reason == (
        "F1 went from 75.00 to 25.00 (-50.00): with 95 % confidence the loss is at least 50.00, more than the margin "
        "of 1."
    )


def test_equal_answers_pass_even_without_a_margin() -> None:
    scores = make_scores(np.random.default_rng(1), np.full(12, 10))
    result = judge_scores(replace(scores, challenger=scores.champion), UNGUARDED.model_copy(update={"margin_f1": 0.0}))
    assert (result.verdict, result.probability_worse, result.pass_probability_if_equal) == ("promoted", 0.0, 1.0)
    assert result.reason.endswith("with 95 % confidence the loss is at most 0.00, within the margin of 0.")


def test_too_few_questions_prove_nothing_and_the_reason_says_so() -> None:
    result = judge_scores(make_scores(np.random.default_rng(2), np.full(6, 10)))
    assert (result.verdict, result.cause) == ("rejected", "unproven")
    assert result.pass_probability_if_equal is not None
    assert 0.05 < result.pass_probability_if_equal < 0.5
    assert "on these 60 questions about 6 articles an equally good model passes" in result.reason


def test_one_article_passes_only_a_gate_that_is_open() -> None:
    scores = make_scores(np.random.default_rng(2), np.full(1, 50))
    assert judge_scores(scores).cause == "unproven"
    assert "about 1 article an equally good model passes 0% of the time" in judge_scores(scores).reason
    opened = judge_scores(scores, GateSettings(margin_f1=100.0, guarded_slices=()))
    assert (opened.verdict, opened.pass_probability_if_equal) == ("promoted", 1.0)


def test_a_fallen_slice_rejects_what_is_better_on_the_whole() -> None:
    scores = make_scores(np.random.default_rng(3), np.full(40, 50), difference=2.0)
    words = ["why" if row % 10 == 0 else "what" for row in range(2000)]
    challenger = np.where(np.array(words) == "why", 0.0, scores.challenger)
    worse = replace(scores, challenger=challenger, champion=np.minimum(scores.champion, 0.9))
    open_gate = GateSettings(margin_f1=100.0, guarded_slices=("question_word",), resamples=1000)
    result = judge_scores(worse, open_gate, {"question_word": words})
    assert (result.verdict, result.cause) == ("rejected", "slice_fell")
    states = {part.name: part.state for part in result.slices}
    assert (states["question_word:why"], states["question_word:what"]) == ("fell", "held")
    # Slices without a question are named too, and do not count among those judged.
    assert (states["question_word:who"], len(states)) == ("not_judged", len(VIEWS["question_word"]))
    parts = [part.difference for part in result.slices if part.difference]
    assert [part.confidence for part in parts] == [0.975, 0.975]
    assert "but guarded slices fell: question_word:why by " in result.reason
    assert judge_scores(worse, open_gate.model_copy(update={"guarded_slices": ()})).verdict == "promoted"


def test_a_slice_on_few_articles_is_not_judged() -> None:
    scores = make_scores(np.random.default_rng(3), np.full(40, 20))
    for num_articles, state in ((9, "not_judged"), (10, "fell")):
        inside = scores.articles < num_articles
        worse = replace(scores, challenger=np.where(inside, 0.0, scores.challenger))
        slices = {"question_word": np.where(inside, "why", "who").tolist()}
        result = judge_scores(worse, WHY.model_copy(update={"margin_f1": 100.0}), slices)
        assert [part.state for part in result.slices] == [state]
        assert result.slices[0].difference is not None
        assert result.slices[0].difference.num_articles == num_articles


def test_views_stand_for_their_slices_and_unknown_names_are_refused() -> None:
    both = guarded_slices(GateSettings(guarded_slices=("question_word:why", "context_length", "question_word:why")))
    assert both == [("question_word", "why"), *(("context_length", name) for name in VIEWS["context_length"])]
    for names in VIEWS.items():
        assert guarded_slices(GateSettings(guarded_slices=tuple(f"{names[0]}:{name}" for name in names[1])))
    with pytest.raises(SettingsError, match="names 'question_word:wy', which is no slice") as caught:
        judge(contender("x", None), None, GateSettings(guarded_slices=("question_word:wy",)), seed=1)
    assert "question_word:what" in caught.value.do


def test_the_order_of_questions_does_not_matter() -> None:
    dice = np.random.default_rng(6)
    scores = make_scores(dice, sizes_like_squad(dice, 20) // 4)
    words = dice.choice(["why", "who", "what"], len(scores.articles)).tolist()
    challenger, champion = scores.contenders({"question_word": words})

    def shuffled(questions: ScoredQuestions) -> ScoredQuestions:
        rows = dice.permutation(len(questions)).tolist()
        return ScoredQuestions(
            [questions.ids[row] for row in rows],
            [questions.articles[row] for row in rows],
            questions.f1[rows],
            {view: [names[row] for row in rows] for view, names in questions.slices.items()},
        )

    def result(first: ScoredQuestions, second: ScoredQuestions) -> dict[str, Any]:
        return judge(contender("challenger", first), contender("champion", second), WHY, seed=9).to_json()

    assert result(shuffled(challenger), shuffled(champion)) == result(challenger, champion)


def test_the_seed_alone_decides_the_draws() -> None:
    scores = make_scores(np.random.default_rng(7), np.full(20, 20))
    assert judge_scores(scores, seed=5) == judge_scores(scores, seed=5)
    assert judge_scores(scores, seed=5).overall != judge_scores(scores, seed=6).overall


def test_the_result_is_json_and_tells_everything() -> None:
    scores = make_scores(np.random.default_rng(7), np.full(20, 20))
    words = {"question_word": ["why"] * 400}
    challenger, champion = scores.contenders(words)
    result = judge(
        contender("challenger", challenger), contender("champion", champion), WHY, seed=5, num_earlier_uses=3
    )
    told = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert told == result.to_json()
    assert (told["seed"], told["resamples"], told["num_earlier_uses"], told["margin_f1"]) == (5, 1000, 3, 1.0)
    assert told["passes"] == (told["verdict"] == "promoted")
    # The only guarded slice holds all questions: it has the whole's difference and, being one, its confidence.
    assert told["slices"] == [{"name": "question_word:why", "state": "held", "difference": told["overall"]}]
    assert told["overall"]["difference_f1"] == pytest.approx(scores.differences.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("champion", "message"),
    [
        (scored([1.0, 1.0], ["a", "b"]), "the champion's 2 scored questions are not the challenger's 3"),
        (ScoredQuestions(["q0", "q1", "x"], ["a"] * 3, np.ones(3)), "are not the challenger's 3"),
    ],
)
def test_other_ids_under_one_digest_are_an_error(champion: ScoredQuestions, message: str) -> None:
    challenger = scored([1.0, 1.0, 0.0], ["a", "b", "c"])
    with pytest.raises(DataError, match=message):
        judge(contender("challenger", challenger), contender("champion", champion), UNGUARDED, seed=1)


def test_missing_scores_and_slices_are_errors() -> None:
    scores = scored([1.0, 0.0], ["a", "b"])
    with pytest.raises(DataError, match="the challenger has no scores"):
        judge(contender("challenger", None), contender("champion", scores), UNGUARDED, seed=1)
    with pytest.raises(DataError, match="does not tell the slices question_word of its questions"):
        judge(contender("challenger", scores), contender("champion", scores), WHY, seed=1)
    nothing = scored([], [])
    with pytest.raises(DataError, match="0 scored questions"):
        judge(contender("challenger", nothing), contender("champion", nothing), UNGUARDED, seed=1)


def test_uses_are_counted_by_challenger() -> None:
    def record(challenger: str, evaluation: str = "e") -> dict[str, Any]:
        return {"challenger_digest": challenger, "evaluation_digest": evaluation}

    records = [record("a"), record("a"), record("b"), record("c", "other"), {}, {"evaluation_digest": "e"}]
    assert count_uses("e", records) == 2
    assert count_uses("e", []) == 0
    result = judge(contender("challenger", None), None, UNGUARDED, seed=1)
    assert count_uses("the same questions", [result.to_json()]) == 1


# What the settings promise, by simulation: 48 articles of sizes like SQuAD's, an eighth of its questions each, for
# time; the margin is three times the default's, as the standard error is.
ROUNDS = 800
MARGIN = GateSettings(margin_f1=3.0, guarded_slices=(), resamples=1000)


def simulate(difference: float, settings: GateSettings, seed: int) -> list[GateResult]:
    dice = np.random.default_rng(seed)
    results = []
    for round_ in range(ROUNDS):
        scores = make_scores(dice, sizes_like_squad(dice, 48) // 8, difference=difference)
        words = dice.choice(VIEWS["question_word"], len(scores.articles)).tolist()
        results.append(judge_scores(scores, settings, {"question_word": words}, seed=round_))
    return results


def tolerance(rate: float) -> float:
    """Three standard errors of a rate found in ROUNDS."""
    return 3.0 * math.sqrt(rate * (1.0 - rate) / ROUNDS)


def share(results: list[GateResult], verdict: str) -> float:
    return sum(result.verdict == verdict for result in results) / len(results)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_a_model_worse_by_the_margin_passes_as_rarely_as_the_confidence_says(confidence: float) -> None:
    results = simulate(-3.0, MARGIN.model_copy(update={"confidence": confidence}), seed=1)
    assert share(results, "promoted") == pytest.approx(1 - confidence, abs=tolerance(1 - confidence))


@pytest.mark.parametrize("margin", [0.0, 1.0, 2.0])
def test_an_equal_model_is_rejected_as_often_as_the_result_tells(margin: float) -> None:
    results = simulate(0.0, MARGIN.model_copy(update={"margin_f1": margin}), seed=2)
    rate = sum(1.0 - (result.pass_probability_if_equal or 0.0) for result in results) / ROUNDS
    assert share(results, "rejected") == pytest.approx(rate, abs=tolerance(rate))
    # 95 %, most nights, and few: the width of the margin is what decides.
    assert {0.0: 0.9 < rate < 0.97, 1.0: 0.5 < rate < 0.8, 2.0: 0.1 < rate < 0.3}[margin], rate


def test_a_drop_of_twice_the_margin_is_rejected_nearly_always() -> None:
    results = simulate(-6.0, MARGIN, seed=3)
    assert share(results, "rejected") >= 0.995
    assert {result.cause for result in results if result.verdict == "rejected"} <= {"worse", "unproven"}


def test_slices_that_lost_no_more_than_their_margin_seldom_reject() -> None:
    # All eight slices have lost exactly the slice margin: the hardest case. Any of them falls in 5 % of nights at most.
    settings = GateSettings(margin_f1=100.0, slice_margin_f1=3.0, guarded_slices=("question_word",), resamples=1000)
    results = simulate(-3.0, settings, seed=4)
    fell = share(results, "rejected")
    assert 0.0 < fell <= 0.05 + tolerance(0.05)
    assert share(simulate(0.0, settings, seed=5), "rejected") <= 0.005


def test_the_gate_judges_all_of_squad_within_two_seconds_of_processor_time() -> None:
    dice = np.random.default_rng(3)
    sizes = np.full(48, 220)
    sizes[0] = 10_570 - 220 * 47
    scores = make_scores(dice, sizes, difference=0.5)
    slices = {view: [str(names[row % len(names)]) for row in range(10_570)] for view, names in VIEWS.items()}
    settings = GateSettings()
    assert settings.resamples == 10_000
    began = time.process_time()
    result = judge_scores(scores, settings, slices)
    seconds = time.process_time() - began
    assert result.overall is not None
    assert (result.overall.num_questions, result.overall.num_articles) == (10_570, 48)
    assert all(part.state != "not_judged" for part in result.slices)
    assert seconds < 2
