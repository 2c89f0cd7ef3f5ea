"""The names of the demo world: made from syllables, in three sets that share no name.

Training, validation and pretraining draw from disjoint sets, so a model that answers questions about the
validation passages cannot have met their people, places, companies or goods. The syllables are shared: they are
the letters of this world. Nothing here is meant to be real.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

NAME_SETS = ("validation", "train", "pretraining")

# Which set the n-th name of a list belongs to. Seven shares no factor with the lists of endings below (5 to 12), so
# that each set meets each stem and each ending.
_CYCLE = ("validation", "train", "pretraining", "train", "pretraining", "train", "pretraining")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_STEMS = _words(
    "Velmo Torqui Kestri Marzu Dunvé Orlaz Brixa Zanto Halvu Fendri Gravö Jorma Lunqua Narvi Polzé Quilo "
    "Rasku Selvy Tamru Ulfra Varzi Wendo Yarlo Zilba Älmu Östri Éldo Cruva Phary Ithmo Obri Askel Embra Inzo "
    "Umbri Ekko Glim Thuro Skarva Plovi"
)
_TOWN_ENDINGS = _words("brück holmen vikar stadt mouth wick gård fell dorp haven")
_RIVER_ENDINGS = _words("na ssel mar rra lune")
_FIRM_ENDINGS = _words("tec nor lux dyne corp gen")
_LANDMARK_NOUNS = _words("Bridge Tower Lighthouse Hall Gate Mill")
_GIVEN_STARTS = _words(
    "Anv Bélm Kasv Dorv Elfr Fjod Gisk Hilv Ivr Jask Kolm Lévr Mirv Nost Ondr Perv Runk Síld Tyv Urst"
)
_GIVEN_ENDINGS = _words("a o ine ius é ek ara on")
_FAMILY_STARTS = _words(
    "Dulva Horvi Kympo Lyndro Morvu Nestu Ostru Pritu Rosku Stojo Tvardo Ulbi Vasku Wirno Zelmu Brako Krosna "
    "Dravo Fosti Gunvo"
)
_FAMILY_ENDINGS = _words("venić quist sen vault lingham novský mann dard ré núñez")
_QUALITIES = _words("copper silver painted woven salted smoked carved folding striped velvet glass wooden")
_GOODS = _words("kettles lanterns carpets herrings drums clocks buttons bells brushes mirrors candles gloves")
_CRAFT_STUFFS = _words("brass glass silk horn clay paper leather stone wool tin pearl wax")
_TRADES = _words("painter weaver carver trader polisher cutter dealer printer collector teacher smith binder")
_COLOURS = _words("grey red white black yellow blue green pale dark golden")
_STONES = _words("slate brick granite marble timber steel concrete sandstone limestone basalt")


@dataclass(frozen=True)
class Dice:
    """Chance that falls alike on every Python and platform: all of it rests on ``Random(seed).random()``."""

    source: random.Random

    def below(self, limit: int) -> int:
        """Return a whole number in [0, limit)."""
        return int(self.source.random() * limit)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of ``items``, all alike likely."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return ``items`` in another order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


@dataclass(frozen=True)
class Names:
    """All names of one set, by kind. No name of one kind is a name of another kind or of another set."""

    towns: tuple[str, ...]
    rivers: tuple[str, ...]
    firms: tuple[str, ...]
    landmarks: tuple[str, ...]
    given_names: tuple[str, ...]
    family_names: tuple[str, ...]
    goods: tuple[str, ...]
    trades: tuple[str, ...]
    materials: tuple[str, ...]

    def person(self, dice: Dice) -> str:
        """Return a given and a family name, both of this set."""
        return f"{dice.pick(self.given_names)} {dice.pick(self.family_names)}"


def names_of(name_set: str) -> Names:
    """Return the names of one of NAME_SETS, the same on each call."""

    def share(starts: Sequence[str], ends: Sequence[str], joint: str = "") -> tuple[str, ...]:
        made = [start + joint + end for start in starts for end in ends]
        return tuple(name for place, name in enumerate(made) if _CYCLE[place % len(_CYCLE)] == name_set)

    return Names(
        towns=share(_STEMS, _TOWN_ENDINGS),
        rivers=share(_STEMS, _RIVER_ENDINGS),
        firms=share(_STEMS, _FIRM_ENDINGS),
        landmarks=share(_STEMS, _LANDMARK_NOUNS, " "),
        given_names=share(_GIVEN_STARTS, _GIVEN_ENDINGS),
        family_names=share(_FAMILY_STARTS, _FAMILY_ENDINGS),
        goods=share(_QUALITIES, _GOODS, " "),
        trades=share(_CRAFT_STUFFS, _TRADES, " "),
        materials=share(_COLOURS, _STONES, " "),
    )
