"""Work on all cores with bounded memory."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

_Item, _Result = TypeVar("_Item"), TypeVar("_Result")


def map_ahead(
    pool: Executor, ahead: int, function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """The results in order, at most `ahead` items in advance: memory does not grow with their number."""
    pending = collections.deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
