"""Functions that are written as source when they are needed, and compiled."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from typing import Any
from weakref import finalize


def compiled(source: str, name: str, scope: dict[str, Any], file: str) -> Callable[..., Any]:
    """The function that some source defines.

    Args:
        source: Python source that defines it.
        name: what it is called there.
        scope: what the source may refer to.
        file: the path that tracebacks are to give, with the lines of the source; no such file need exist.
    """
    entry = linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope["__tapegrad__"] = True  # tracebacks tell our code from the user's
    exec(compile(source, file, "exec"), scope)
    function: Callable[..., Any] = scope.pop(name)  # popped, so that no cycle of references is left
    finalize(function, _drop, file, entry)
    return function


def _drop(file: str, entry: tuple[Any, ...]) -> None:
    """Forget the lines of a function that is gone, unless they are now another's."""
    if linecache.cache.get(file) is entry:
        del linecache.cache[file]


def identifier(name: str) -> str:
    """A name as Python takes it, whatever a user has called a function: it becomes source."""
    return re.sub(r"\W|^(?=\d)", "_", name[:60], flags=re.ASCII)
