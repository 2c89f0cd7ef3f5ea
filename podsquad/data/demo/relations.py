"""What can be said and asked in the demo world: four kinds of subject, six relations each.

In every phrase ``{v}`` is the value; in every question ``{e}`` is the entity. Two relations of a subject often
have values of one kind (a firm's founder and its head), so telling a person from a year is not enough to answer.
"""

from __future__ import annotations

from dataclasses import dataclass

QUESTION_KINDS = ("who", "where", "when", "how many", "what", "which")


@dataclass(frozen=True)
class Relation:
    """One thing to know about an entity.

    ``value_kind`` names how values are drawn: person, town, river, year, count, goods, trade or material.
    ``unit`` is the word that follows a count in the phrases; a longer, equally right answer includes it.
    """

    name: str
    value_kind: str
    phrases: tuple[str, ...]
    questions: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True)
class Subject:
    """A kind of entity: how it is introduced, what stands for its name later on, and its relations."""

    name: str
    article: str
    introductions: tuple[str, ...]
    pronouns: tuple[str, ...]
    relations: tuple[Relation, ...]


FIRM = Subject(
    "firm",
    "",
    (
        "Several firms are known in this valley.",
        "The trade register lists these companies.",
        "Old rivals do business side by side.",
    ),
    ("It", "The firm"),
    (
        Relation(
            "founder",
            "person",
            ("was founded by {v}", "was set up by {v}", "owes its start to {v}"),
            ("Who founded {e}?", "Who set up {e}?", "By whom was {e} founded?", "Which person founded {e}?"),
        ),
        Relation(
            "head",
            "person",
            ("is led by {v}", "has {v} as its head", "is run by {v}"),
            ("Who leads {e}?", "Who runs {e}?", "Who is the head of {e}?"),
        ),
        Relation(
            "seat",
            "town",
            ("has its seat in {v}", "is based in {v}", "works from {v}"),
            ("Where is {e} based?", "Where does {e} have its seat?", "In which town is {e} based?"),
        ),
        Relation(
            "opening",
            "year",
            ("was founded in {v}", "opened its doors in {v}", "has existed since {v}"),
            ("When was {e} founded?", "When did {e} open its doors?", "In what year was {e} founded?"),
        ),
        Relation(
            "staff",
            "count",
            ("employs {v} people", "gives work to {v} people"),
            ("How many people does {e} employ?", "How many people work for {e}?"),
            unit="people",
        ),
        Relation(
            "product",
            "goods",
            ("makes {v}", "produces {v}", "is known for its {v}"),
            (
                "What does {e} make?",
                "What does {e} produce?",
                "What is {e} known for?",
                "Which goods does {e} make?",
            ),
        ),
    ),
)

PERSON = Subject(
    "person",
    "",
    (
        "The local museum honours these people.",
        "Some lives are well recorded here.",
        "An old book tells of neighbours and their lives.",
    ),
    ("She", "He"),  # by the ending of the given name, see world.py
    (
        Relation(
            "birthplace",
            "town",
            ("was born in {v}", "came from {v}", "grew up in {v}"),
            ("Where was {e} born?", "Where did {e} come from?", "In which town was {e} born?"),
        ),
        Relation(
            "birth",
            "year",
            ("was born in {v}", "came into the world in {v}"),
            ("When was {e} born?", "In what year was {e} born?"),
        ),
        Relation(
            "teacher",
            "person",
            ("studied under {v}", "was taught by {v}", "learned from {v}"),
            ("Who taught {e}?", "Who was the teacher of {e}?", "Under whom did {e} study?"),
        ),
        Relation(
            "spouse",
            "person",
            ("married {v}", "was married to {v}"),
            ("Who was {e} married to?", "Who married {e}?", "Which person did {e} marry?"),
        ),
        Relation(
            "trade",
            "trade",
            ("worked as a {v}", "was a {v} by trade", "earned a living as a {v}"),
            ("What did {e} work as?", "What was the trade of {e}?", "Which trade did {e} follow?"),
        ),
        Relation(
            "letters",
            "count",
            ("wrote {v} letters", "left {v} letters"),
            ("How many letters did {e} write?", "How many letters did {e} leave?"),
            unit="letters",
        ),
    ),
)

TOWN = Subject(
    "town",
    "",
    (
        "The old map shows these towns.",
        "Travellers often compare the towns of the coast.",
        "Neighbouring towns seldom agree.",
    ),
    ("It", "The town"),
    (
        Relation(
            "river",
            "river",
            ("lies on the river {v}", "stands on the banks of the {v}", "is crossed by the {v}"),
            ("Which river does {e} lie on?", "On which river does {e} stand?", "Which river crosses {e}?"),
        ),
        Relation(
            "population",
            "count",
            ("has {v} inhabitants", "is home to {v} inhabitants"),
            ("How many people live in {e}?", "How many inhabitants does {e} have?"),
            unit="inhabitants",
        ),
        Relation(
            "mayor",
            "person",
            ("is governed by {v}", "has {v} as its mayor", "elected {v} as mayor"),
            ("Who governs {e}?", "Who is the mayor of {e}?", "Who was elected as mayor of {e}?"),
        ),
        Relation(
            "settler",
            "person",
            ("was first settled by {v}", "was founded by {v}"),
            ("Who founded {e}?", "Who first settled {e}?", "By whom was {e} founded?"),
        ),
        Relation(
            "fame",
            "goods",
            ("is famous for its {v}", "trades in {v}", "exports {v}"),
            ("What is {e} famous for?", "What does {e} trade in?", "What does {e} export?"),
        ),
        Relation(
            "charter",
            "year",
            ("received its charter in {v}", "became a town in {v}"),
            (
                "When did {e} receive its charter?",
                "When did {e} become a town?",
                "In what year did {e} become a town?",
            ),
        ),
    ),
)

LANDMARK = Subject(
    "landmark",
    "the ",
    (
        "Visitors rarely miss these landmarks.",
        "The guide describes what was built here.",
        "Postcards show the sights of the region.",
    ),
    ("It", "The building"),
    (
        Relation(
            "designer",
            "person",
            ("was designed by {v}", "is the work of {v}", "was planned by {v}"),
            ("Who designed {e}?", "Who planned {e}?", "By whom was {e} designed?"),
        ),
        Relation(
            "owner",
            "person",
            ("belongs to {v}", "is owned by {v}"),
            ("Who owns {e}?", "Who is the owner of {e}?", "Which person owns {e}?"),
        ),
        Relation(
            "site",
            "town",
            ("stands in {v}", "can be found in {v}", "is located in {v}"),
            ("Where does {e} stand?", "Where is {e} located?", "In which town does {e} stand?"),
        ),
        Relation(
            "completion",
            "year",
            ("was completed in {v}", "was finished in {v}"),
            ("When was {e} completed?", "When was {e} finished?", "In what year was {e} completed?"),
        ),
        Relation(
            "size",
            "count",
            ("measures {v} metres", "rises {v} metres"),
            ("How many metres does {e} measure?", "How many metres does {e} rise?"),
            unit="metres",
        ),
        Relation(
            "material",
            "material",
            ("was built of {v}", "is made of {v}"),
            ("What is {e} made of?", "What was {e} built of?", "Which material was used for {e}?"),
        ),
    ),
)

SUBJECTS = (FIRM, PERSON, TOWN, LANDMARK)


def question_kind(question: str) -> str:
    """Return the one of QUESTION_KINDS whose words come first in ``question`` (``whom`` counts as who)."""
    lowered = question.lower()
    found = [(lowered.find(kind), kind) for kind in QUESTION_KINDS if kind in lowered]
    if not found:
        raise ValueError(f"no question word in {question!r}")
    return min(found)[1]
