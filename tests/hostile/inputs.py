"""Hostile inputs: valid ones that were damaged, and others made from nothing. All are drawn by hypothesis."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.faults.place import CANARY

Draw = Callable[[st.SearchStrategy[Any]], Any]

NESTED = 3000  # levels: deeper than Python's own limit of 1,000
READABLE = 1500  # levels that are read within hypothesis's limit of 2,000, too deep for who takes two frames for each
HUGE = "x" * 20_000
ODD_TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\ud800",
        "a\udfffb",
        "\ufeff",
        "\r\n",
        "\n",
        "\x1b[2J",
        "\u2028",
        "\u202e",
        "é",
        "e\u0301",
    ),
    *(
        "👩\u200d🚀",
        "../../x",
        "/etc/passwd",
        "C:\\x",
        "..",
        ".",
        "~",
        "~nobody",
        "%s%n",
        "{0}",
        "${HOME}",
        "none",
        "NULL",
    ),
    *("true", "NaN", "-0", "1e999", "0x10", "1_000", "١٢", HUGE, CANARY),
)
ODD_NUMBERS = (
    0, -1, 1, 2**31, -(2**31) - 1, 2**63, -(2**63) - 1, 2**64, 10**400, 0.5, -0.0, 1e308, float("inf"), float("-inf"),
    float("nan"),
)  # fmt: skip
ODD_PARTS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": ""}, {"a": {"b": [1]}})
ODD_BYTES = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\r\n",
        b"\n",
        b"[",
        b"]",
        b"{",
        b"}",
    ),
    *(
        b'"',
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"NaN",
        b"Infinity",
        b"-",
        b"1e999",
        b"null",
        b"true",
        b",",
        b":",
        b"9" * 5000,
    ),
    *(b"[" * NESTED, b'{"a":' * NESTED, b"[" * READABLE + b"]" * READABLE, b"A" * 20_000),
)

# Copied: what is drawn is damaged further, and the same inputs must come from the same draws.
odd_values = (
    st.sampled_from((*ODD_TEXTS, *ODD_NUMBERS, *ODD_PARTS)).map(copy.deepcopy)
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
)
odd_bytes = st.sampled_from(ODD_BYTES) | st.binary(max_size=40)
json_values = st.recursive(
    odd_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged_bytes(draw: Draw, content: bytes) -> bytes:
    """Flip bits, cut, insert, repeat and move pieces of a valid file, one to four times."""
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(("flip", "cut", "insert", "replace", "repeat", "tail", "ends")))
        if kind == "flip" and content:
            content = content[:place] + bytes([content[place] ^ 1 << draw(st.integers(0, 7))]) + content[place + 1 :]
        elif kind == "cut":
            content = content[:place]
        elif kind == "tail":
            content = content[place:]
        elif kind == "insert":
            content = content[:place] + draw(odd_bytes) + content[place:]
        elif kind == "replace":
            content = content[:place] + draw(odd_bytes) + content[place + draw(st.integers(1, 20)) :]
        elif kind == "repeat":
            end = place + draw(st.integers(1, 64))
            content = content[:end] + content[place:end] + content[end:]
        else:
            content = content.replace(b"\n", b"\r\n") if draw(st.booleans()) else b"\xef\xbb\xbf" + content
    return content


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to each value inside, the value itself among them."""
    found = [at]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*at, key))
    return found


@st.composite
def damaged_value(draw: Draw, value: Any, odd: st.SearchStrategy[Any] = odd_values) -> Any:
    """Replace, remove, add, wrap and swap parts of a valid JSON value, one to three times."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(_places({"top": value})[1:]))
        holder = {"top": value}
        parent: Any = holder
        for key in way:
            parent = parent[key]
        kind = draw(st.sampled_from(("replace", "replace", "remove", "add", "wrap", "text", "rename", "copy")))
        if kind == "replace":
            parent[last] = draw(odd)
        elif kind == "remove" and last != "top":
            del parent[last]
        elif kind == "wrap":
            parent[last] = draw(st.sampled_from((lambda each: [each], lambda each: {"x": each})))(parent[last])
        elif kind == "text":
            parent[last] = str(parent[last])
        elif kind == "rename" and isinstance(parent, dict) and last != "top":
            parent[draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=5))] = parent.pop(last)
        elif kind == "copy":
            parent[last] = copy.deepcopy(parent[draw(st.sampled_from(list(_keys(parent))))])
        elif isinstance(parent[last] if last in _keys(parent) else None, dict):
            parent[last][draw(st.sampled_from(ODD_TEXTS) | st.text(max_size=5))] = draw(odd)
        elif isinstance(parent[last] if last in _keys(parent) else None, list):
            parent[last].append(draw(odd))
        value = holder["top"]
    return value


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


@st.composite
def damaged_json(draw: Draw, value: Any) -> bytes:
    """Return the text of a damaged, or of any other, JSON value; at times with a key twice, or damaged as a text."""
    kind = draw(st.sampled_from(("value", "value", "value", "bytes", "bytes", "twice", "any", "noise")))
    if kind == "noise":
        return bytes(draw(st.binary(max_size=200)))
    made = draw(json_values) if kind == "any" else draw(damaged_value(value)) if kind != "bytes" else value
    ascii_only = draw(st.booleans())
    content = json.dumps(made, ensure_ascii=ascii_only, indent=draw(st.sampled_from((None, 2))))
    encoded = content.encode("utf-8", "surrogatepass")
    if kind == "twice":
        encoded = encoded.replace(b"{", b'{"%s": 0, ' % draw(st.sampled_from((b"data", b"key", b"files", b"event"))), 1)
    return bytes(draw(damaged_bytes(encoded))) if kind == "bytes" else encoded
