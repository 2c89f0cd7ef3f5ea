"""A kit for groups of options: a class declares ``Setter``s, and each becomes a method that checks and keeps a value.

What is kept stands in one of three places: among the group's own options (readable as attributes, part of ``toDict``),
among the compiler's session options, or with the host alone, of which the compiler never learns.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from types import MethodType
from typing import Any, Callable, ClassVar, Iterator, Mapping, Optional, Union

_UNSET: Any = object()

Kind = Union[type, "tuple[type, ...]"]


class Sealed:
    """Something that a model in use holds still: while sealed every change is refused; a copy is free again."""

    _sealed = False

    def _need_open(self) -> None:
        if self._sealed:
            raise AttributeError(
                "{} in use by a model or a loader are frozen: set them before, or take copy.deepcopy(options)".format(
                    type(self).__name__
                )
            )

    def _held_things(self) -> Iterator[Sealed]:
        yield self
        for thing in vars(self).values():
            if isinstance(thing, Sealed):
                yield from thing._held_things()

    def seal(self, sealed: bool = True) -> None:
        """Refuse changes from now on, in all groups within; or allow them again."""
        for thing in self._held_things():
            vars(thing)["_sealed"] = sealed

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update((name, copy.deepcopy(thing, memo)) for name, thing in vars(self).items() if name != "_sealed")
        return twin


class CompilerOptions(Sealed):
    """The compiler's session options under its own names. An unknown name fails when a model compiles."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {"instrumentWithHardwareCycleCounter": False, "rearrangeAnchorsOnHost": False}

    def set(self, key: str, value: Any) -> CompilerOptions:
        """Set one. Raises AttributeError while sealed."""
        self._need_open()
        self.options[key] = value
        return self

    def setEngineOptions(self, engine_options: Mapping[str, str]) -> CompilerOptions:
        """Set the options of Poplar's engine; the emulator keeps them for the executable's identity only."""
        return self.set("engineOptions", engine_options)

    def setPatterns(self, patterns: Mapping[str, bool], level: int = 2) -> CompilerOptions:
        """Choose the compiler's rewriting patterns and their level."""
        need("patterns", patterns, dict)
        need("level", level, int)
        return self.set("patterns", patterns).set("patterns_level", level)

    def __repr__(self) -> str:
        return _told(self, self.options)


@dataclass(eq=False)
class Setter:
    """One option, and with it the method of that name.

    ``parameter`` is the argument's name, for callers that give it by name, and ``usual`` what a call without one means.
    ``kind`` is what the argument must be, ``must`` what else, with its words. ``keep`` turns the argument into what is
    kept under ``key`` (the parameter's name unless given), in ``place``: "group", "compiler" or "host". ``initial`` is
    what is kept before the first call; without one there is nothing.
    """

    doc: str
    parameter: str
    kind: Optional[Kind] = None
    key: str = ""
    usual: Any = _UNSET
    initial: Any = _UNSET
    keep: Callable[[Any], Any] = lambda argument: argument
    must: Optional[tuple[Callable[[Any], bool], str]] = None
    place: str = "group"

    @property
    def kept_as(self) -> str:
        """The name under which the value is kept."""
        return self.key or self.parameter

    def __set_name__(self, owner: type, name: str) -> None:
        self._function = self._made_as(name)

    def __get__(self, group: Any, owner: Any = None) -> Callable[..., Any]:
        return self._function if group is None else MethodType(self._function, group)

    def _made_as(self, name: str) -> Callable[..., Any]:
        """The method: its value kept, it returns the group, so that calls chain."""
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        usual = inspect.Parameter.empty if self.usual is _UNSET else self.usual
        argument = inspect.Parameter(self.parameter, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=usual)
        signature = inspect.Signature([itself, argument])

        def call(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            group, value = bound.args
            if self.kind is not None:
                need(name, value, self.kind)
            if self.must is not None:
                holds, words = self.must
                assert holds(value), words
            group._put(self.place, self.kept_as, self.keep(value))
            return group

        call.__name__, call.__qualname__, call.__doc__ = name, name, self.doc
        call.__signature__ = signature  # type: ignore[attr-defined]
        return call


class Group(Sealed):
    """Options that belong together. Attributes read them, and set those that have an initial value, of its type."""

    _initial: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._initial = {place: dict(kept) for place, kept in cls._initial.items()}
        for setter in vars(cls).values():
            if isinstance(setter, Setter) and setter.initial is not _UNSET:
                cls._initial.setdefault(setter.place, {})[setter.kept_as] = setter.initial

    def __init__(self, compiler: Optional[CompilerOptions] = None, **more: Any) -> None:
        """``compiler`` takes what is the compiler's; ``more`` are options that no single method sets."""
        vars(self).update(
            _options={**copy.deepcopy(self._initial.get("group", {})), **more},
            _host=copy.deepcopy(self._initial.get("host", {})),
            _compiler=compiler,
        )

    def _put(self, place: str, key: str, value: Any) -> None:
        self._need_open()
        if place == "compiler":
            self._compiler.set(key, value)
        elif place == "host":
            self._host[key] = value
        else:
            if key in self._options:
                need(key, value, type(self._options[key]))
            self._options[key] = value

    def set(self, **values: Any) -> None:
        """Set options by name. Raises AssertionError for an unknown name or another type, AttributeError if sealed."""
        for name, value in values.items():
            assert name in self._options, "{} has no option {!r}; it has {}".format(
                type(self).__name__, name, ", ".join(sorted(self._options))
            )
            self._put("group", name, value)

    def chosen(self, name: str) -> Any:
        """What an option is set to; None while it is not."""
        return self._options.get(name)

    def forget(self, name: str) -> None:
        """Leave an option unset again."""
        self._need_open()
        self._options.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        options = vars(self).get("_options", {})
        if name in options:
            return options[name]
        raise AttributeError("{} has no option or method {!r}".format(type(self).__name__, name))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            self._need_open()
            object.__setattr__(self, name, value)
        else:
            self.set(**{name: value})

    def toDict(self) -> dict[str, Any]:
        """The options by name."""
        return dict(self._options)

    def __repr__(self) -> str:
        return _told(self, self._options)


def need(name: str, value: Any, kind: Kind) -> None:
    """Raise AssertionError, as poptorch does, unless ``name`` is given a value of that kind."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    assert isinstance(value, kinds), "{} takes {}, not {!r}".format(
        name, " or ".join(each.__name__ for each in kinds), value
    )


def _told(group: Any, values: Mapping[str, Any]) -> str:
    shown = ["{}={!r}".format(name, value) for name, value in values.items()]
    return "{}({})".format(type(group).__name__, ", ".join(shown))
