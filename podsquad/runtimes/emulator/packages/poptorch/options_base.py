"""Sets of options with defaults: typed on assignment, frozen once a model uses them, readable as attributes."""

from __future__ import annotations

import copy
from typing import Any

from ._logging import logger


class Freezable:
    """Something whose changes are refused while ``_is_frozen``; a deep copy is free again."""

    _is_frozen = False

    def checkIsFrozen(self) -> None:
        """Raise AttributeError when frozen."""
        if self.__dict__.get("_is_frozen", False):
            raise AttributeError("Can't modify frozen Options")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = self.__class__.__new__(self.__class__)
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            made.__dict__[name] = False if name == "_is_frozen" else copy.deepcopy(value, memo)
        return made


class OptionsDict(Freezable):
    """Options by name. ``set`` takes known names only, with the type of the default; ``createOrSet`` also new ones."""

    def __init__(self, **default_values: Any) -> None:
        self.__dict__["_values"] = default_values
        self.__dict__["_is_frozen"] = False
        self.__dict__["_warnings"] = {}
        self.__dict__["_warnings_disabled"] = set()

    def set(self, **kwargs: Any) -> None:
        """Set known options. Raises AssertionError for an unknown name or another type, AttributeError if frozen."""
        self.checkIsFrozen()
        for option, value in kwargs.items():
            assert option in self._values, "Invalid option {}, valid options are {}".format(option, self._values.keys())
            expected = type(self._values[option])
            assert isinstance(value, expected), "Unexpected type {} for option {}. Expected {}".format(
                type(value), option, expected
            )
            self._values[option] = value

    def createOrSet(self, **kwargs: Any) -> None:
        """Set options that may be new."""
        self.checkIsFrozen()
        for option, value in kwargs.items():
            if option in self._values:
                self.set(**{option: value})
            else:
                self._values[option] = value

    def exists(self, option: str) -> bool:
        """Whether the option has a value."""
        return option in self._values

    def deleteIfExists(self, option: str) -> None:
        """Forget an option."""
        self._values.pop(option, None)

    def _parts(self) -> list[Freezable]:
        return [value for value in self.__dict__.values() if isinstance(value, Freezable)]

    def _freeze(self) -> None:
        for part in [self, *self._parts()]:
            part.__dict__["_is_frozen"] = True

    def _unfreeze(self) -> None:
        for part in [self, *self._parts()]:
            part.__dict__["_is_frozen"] = False

    def __setattr__(self, option: str, value: Any) -> None:
        self.checkIsFrozen()
        if option == "__class__":
            object.__setattr__(self, option, value)
        elif not option.startswith("_"):
            self.set(**{option: value})
        elif "_values" in self.__dict__ and option not in self.__dict__:
            raise AttributeError(
                "Invalid private attribute {}. Valid attributes: {}".format(option, list(self.__dict__))
            )
        else:
            self.__dict__[option] = value

    def __getattr__(self, option: str) -> Any:
        values = self.__dict__.get("_values", {})
        if option.startswith("_") or option not in values:
            raise AttributeError("Invalid attribute {}.".format(option))
        return values[option]

    def update(self, other: dict[str, Any]) -> dict[str, Any]:
        """Add the options to ``other`` and return it. Raises AssertionError when a name is there already."""
        for warning in self._warnings.values():
            if warning not in self._warnings_disabled:
                logger.warning(warning)
        assert not set(self._values) & set(other), "Can't merge dictionaries, they have some keys in common"
        other.update(self._values)
        return other

    def toDict(self) -> dict[str, Any]:
        """The options as a fresh dictionary."""
        return self.update({})

    def __call__(self, option: str) -> Any:
        return getattr(self, option)

    def __repr__(self) -> str:
        return "{}({})".format(type(self).__name__, ", ".join("{}={!r}".format(*item) for item in self._values.items()))
