"""docs/torch.md: every public callable of torch's, and what a Tensor gets from it.

python docs/make_torch.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import get_ignored_functions

from tapegrad import Tensor
from tapegrad.engine.signature import name_of
from tapegrad.engine.table import TABLE
from tapegrad.torch_api.inplace import RANDOM
from tapegrad.torch_api.plain import MADE, PLAIN
from tapegrad.torch_api.reasons import reason_for
from tapegrad.torch_api.values import Values

PAGE = Path(__file__).parent / "torch.md"
NAMESPACES: dict[str, Any] = {
    "torch.Tensor": torch.Tensor,
    "torch": torch,
    "torch.nn.functional": F,
    "torch.linalg": torch.linalg,
    "torch.special": torch.special,
    "torch.fft": torch.fft,
}

RULE = "With a gradient: a rule, or said in terms of functions that have one"
IN_PLACE = "In place: recorded, or refused where torch would change a leaf or shared memory"
PLAIN_RESULT = "Without a gradient, in torch neither: they return plain torch tensors, or numbers"
MADE_ANEW = "New Tensors, which take no gradient until they are asked to"
OWN = "A Tensor's own"
NO_TENSORS = "They take no tensors: they make some, or set something"
READING = "They read numbers, and refuse a Tensor that requires grad, for its gradient would be lost"
REFUSED = "Refused, where a gradient is asked for"
UNKNOWN = "Not classified"

# A Tensor's own, besides what its classes say.
_OWN = {*vars(Values), *dir(object)}
_OWN |= set(
    """
    backward detach detach_ item numpy register_hook register_post_accumulate_grad_hook requires_grad_ retain_grad
    tolist __array_wrap__ __deepcopy__ __long__ __nonzero__ __pos__ __reduce_ex__ __reversed__ __setstate__
    __torch_dispatch__ __torch_function__
    """.split()
)
_SPELLED = {"upsample", "upsample_bilinear", "upsample_nearest"}  # which call F.interpolate
_READING = set("as_tensor asarray from_dlpack sparse_coo_tensor sparse_csr_tensor tensor to_dlpack".split())
_HELPERS = (  # of torch's own making, for those who write functions like torch's
    "assert_int_or_pair boolean_dispatch classproperty handle_torch_function has_torch_function Optional wait fork "
    "has_torch_function_unary has_torch_function_variadic get_file_path compiled_with_cxx11_abi cond while_loop "
    "prepare_multiprocessing_environment profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 set_default_dtype "
    "unify_type_list"
)
_SYMBOLS = "sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum sym_fresh_size"  # numbers under compile
_NO_TENSORS = set(f"{_HELPERS} {_SYMBOLS}".split())

INTRODUCTION = """\
# torch's functions

Every public callable of `torch.Tensor`, `torch`, `torch.nn.functional`, `torch.linalg`, `torch.special` and
`torch.fft`, and what a Tensor gets from it. `python docs/make_torch.py` makes this page, from torch's namespaces and
tapegrad's table.

Where nothing requires grad, or under `torch.no_grad()`, all of them run. A function that is refused says so by name,
with what to do instead; [a rule of your own](custom-rule.md) gives it a gradient. The formulas are in [the
rules](rules.md).
"""


def public(namespace: Any) -> dict[str, Callable[..., Any]]:
    """The callables of a namespace that torch's users call; of methods, also those behind Python's operators."""
    special = namespace is torch.Tensor
    names = [n for n in dir(namespace) if not n.startswith("_") or (special and n.startswith("__"))]
    found = {name: getattr(namespace, name) for name in names}
    return {n: f for n, f in found.items() if callable(f) and not isinstance(f, (type, ModuleType))}


def kind(namespace: Any, name: str, function: Callable[..., Any]) -> str:
    """What a Tensor gets from a function: one of the headings above, or why it is refused."""
    member = getattr(Tensor, name, None) if namespace is torch.Tensor else None
    if (namespace is torch.Tensor and name in _OWN) or name in ("detach", "detach_", "detach_copy"):
        return OWN
    if function in TABLE or (namespace is F and name in _SPELLED):
        return RULE
    if namespace is torch and name in _READING:
        return READING
    if name in MADE:
        return MADE_ANEW
    if name_of(function) in PLAIN or name in PLAIN:
        return PLAIN_RESULT
    if reason := reason_for(name_of(function)) or reason_for(name):
        return f"{REFUSED}: {reason}"
    if member is not None and name.startswith("__"):
        return IN_PLACE if name.startswith("__i") and name.endswith("__") else RULE
    if name.endswith("_") and in_place(name):
        return IN_PLACE
    if name in _NO_TENSORS or function in get_ignored_functions():
        return NO_TENSORS
    return UNKNOWN


def in_place(name: str) -> bool:
    """Whether a function is the form in place of one with a rule or without a gradient, or changes memory alone."""
    base = name.removesuffix("_")
    others = {*RANDOM, "copy_", "fill_", "zero_", "fill_diagonal_", "apply_", "map_", "embedding_renorm_", "squeeze_"}
    functions = [getattr(place, base, None) for place in (torch.Tensor, torch, F)]
    known = any(f is not None and (f in TABLE or reason_for(base)) for f in functions) or base in PLAIN
    return known or name in others


def classified() -> dict[str, dict[str, list[str]]]:
    """Namespace -> what a Tensor gets -> names."""
    found: dict[str, dict[str, list[str]]] = {}
    for title, namespace in NAMESPACES.items():
        kinds = found.setdefault(title, {})
        for name, function in sorted(public(namespace).items()):
            kinds.setdefault(kind(namespace, name, function), []).append(name)
    return found


def page() -> str:
    """docs/torch.md."""
    text = INTRODUCTION
    for title, kinds in classified().items():
        count = sum(map(len, kinds.values()))
        text += f"\n## {title}\n\n{count} callables.\n"
        refused = sorted(k for k in kinds if k.startswith(REFUSED))
        order = [RULE, IN_PLACE, PLAIN_RESULT, MADE_ANEW, OWN, READING, NO_TENSORS, *refused, UNKNOWN]
        for heading in order:
            if names := kinds.get(heading):
                text += f"\n**{heading}** ({len(names)}): {', '.join(f'`{name}`' for name in names)}\n"
    return text


def main(check: bool) -> int:
    """Write the page, or look whether it is current."""
    if not check:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        print("docs/torch.md is not current: run python docs/make_torch.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
