"""What the fuzz tests share: how many examples, a guard against hanging, broken JSON, how a mistake must be told.

HYPOTHESIS_PROFILE=thorough pytest tests/test_fuzz_*.py    # thousands of examples, other ones every time
"""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from asd_jax.base.errors import UserError, is_one_line

ANY = {"deadline": 10_000, "suppress_health_check": list(HealthCheck), "print_blob": False, "database": None}
settings.register_profile("quick", max_examples=60, derandomize=True, **ANY)
settings.register_profile("thorough", max_examples=int(os.environ.get("EXAMPLES", 3000)), **ANY)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

guarded = pytest.mark.usefixtures("ends")
"""For tests that must end; see `tests/conftest.py`."""


def told(call: Callable, *arguments: Any, names: Sequence[str] = (), **keywords: Any) -> Any:
    """What the call returns; None where it says in one line what is wrong, and in which of the files or keys."""
    try:
        return call(*arguments, **keywords)
    except UserError as error:
        sentence = str(error)
        assert is_one_line(sentence) and len(sentence) > 20, repr(sentence)
        assert not names or any(name in sentence for name in names), f"{sentence!r} names none of {names}"
        return None


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e308, float("inf"), float("nan")]),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\ud800", "\x00", "a\nb", "..", "/", "x" * 300]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def _places(value: Any, place: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place] + [found for key, one in inner for found in _places(one, (*place, key))]


@st.composite
def broken_json(draw: st.DrawFn, document: Any) -> bytes:
    """The document with values changed or gone, or its bytes cut, changed or nested without end."""
    document = json.loads(json.dumps(document))
    how = draw(st.sampled_from(["values", "values", "values", "bytes", "cut", "deep", "surplus"]))
    if how == "deep":
        return b"[" * draw(st.sampled_from([10, 100_000]))
    if how == "surplus" and isinstance(document, dict):
        document[draw(st.text(max_size=10))] = draw(VALUES)
    if how == "values":
        for _ in range(draw(st.integers(1, 2))):
            *way, last = draw(st.sampled_from([place for place in _places(document) if place] or [("x",)]))
            parent = document
            for key in way:
                parent = parent[key]
            if draw(st.booleans()) or isinstance(parent, list):
                parent[last] = draw(VALUES)
            else:
                parent.pop(last)
    text = json.dumps(document).encode()
    if how == "cut":
        return text[: draw(st.integers(0, len(text)))]
    if how == "bytes":
        text = bytearray(text)
        for _ in range(draw(st.integers(1, 4))):
            text[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
    return bytes(text)
