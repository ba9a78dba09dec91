"""Buffers: which storage lies where in an arena, by how long it is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import torch

from tapegrad.plan.calls import Call, Storage, Value

ALIGNMENT = 64  # bytes, as torch allocates; kernels may give other bits elsewhere


@dataclass(eq=False)
class Chunk:
    """Memory of one device that an arena takes in one piece.

    Attributes:
        device: where.
        size: bytes.
    """

    device: torch.device
    size: int = 0


@dataclass(frozen=True)
class Block:
    """A piece of a chunk."""

    chunk: Chunk
    offset: int
    size: int


_UNPLACED = Block(Chunk(torch.device("cpu")), 0, 0)  # of what will have a block when its turn comes


@dataclass
class Free:
    """What is free: blocks that were given back, the last one last. A chunk that is not sealed may grow."""

    blocks: list[Block] = field(default_factory=list)
    growing: dict[torch.device, Chunk] = field(default_factory=dict)

    def copy(self) -> Free:
        """The same, to go on from here in another way: what is there by then grows no more."""
        return Free(list(self.blocks), {})

    def take(self, nbytes: int, device: torch.device) -> Block:
        """The smallest free block that is large enough, or new memory."""
        size = -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        fits = [b for b in self.blocks if b.chunk.device == device and b.size >= size]
        if fits:
            best = min(reversed(fits), key=lambda b: b.size)  # of several, the last used: it is in the caches
            self.blocks.remove(best)
            if best.size > size:
                self.blocks.append(Block(best.chunk, best.offset + size, best.size - size))
            return Block(best.chunk, best.offset, size)
        chunk = self.growing.setdefault(device, Chunk(device))
        tail = next((b for b in self.blocks if b.chunk is chunk and b.offset + b.size == chunk.size), None)
        start = chunk.size
        if tail is not None:
            self.blocks.remove(tail)
            start = tail.offset
        chunk.size = start + size
        return Block(chunk, start, size)

    def give(self, block: Block) -> None:
        """Take a block back, and join it with its neighbours."""
        for other in [b for b in self.blocks if b.chunk is block.chunk]:
            if other.offset + other.size == block.offset or block.offset + block.size == other.offset:
                self.blocks.remove(other)
                block = Block(block.chunk, min(block.offset, other.offset), block.size + other.size)
        self.blocks.append(block)


@dataclass(eq=False)
class Layout:
    """How the calls of one section use memory.

    Attributes:
        calls: those that are made, in order; what nobody needs is left out.
        blocks: where each storage of fixed memory lies, those of earlier sections included.
        into: the calls that write into such memory.
        last: for each storage the last call that touches it, as a position in ``calls``.
        reused: for each call, the storages whose memory what it gives takes.
        kept: the storages that are needed after the section.
        free: what is free at the end.
    """

    calls: list[Call]
    blocks: dict[Storage, Block]
    into: set[Call]
    last: dict[Storage, int]
    reused: dict[Call, list[Storage]]
    kept: Collection[Storage]
    free: Free

    def is_fixed(self, value: Value) -> bool:
        """Whether a value has its place in an arena, or is a constant."""
        return value.storage in self.blocks or value.storage.origin == "constant"


def needed(calls: Sequence[Call], roots: Iterable[Value]) -> list[Call]:
    """The calls on which some values depend, or that can be noticed otherwise."""
    alive = {v.storage for v in roots}
    found = []
    for call in reversed(calls):
        effects = any(v.storage in alive or v.storage.origin == "input" for v in call.writes)
        if effects or call.random or any(v.storage in alive for v in call.outs):
            found.append(call)
            alive.update([v.storage for v in call.reads])
    return found[::-1]


def lay_out(
    calls: Sequence[Call],
    leaving: Collection[Value],
    kept: Collection[Storage],
    free: Free,
    before: Layout | None = None,
) -> Layout:
    """Give each storage that a section makes its place.

    Args:
        calls: what the section runs.
        leaving: the values that leave the plan, in memory of their own.
        kept: the storages that are needed after the section.
        free: memory that may be taken.
        before: the layout of the section that ran before; what it kept and this one does not is taken again once it was
            used for the last time.
    """
    out = {v.storage for v in leaving}
    blocks = dict(before.blocks) if before else {}
    layout = Layout(list(calls), blocks, set(), {}, {}, kept, free)
    new: dict[Call, list[Value]] = {}
    seen: set[Storage] = set()
    for call in calls:
        made = [v for v in call.outs if v.storage.origin == "made" and v.storage not in seen and not call.view]
        made = [v for v in made if v not in call.writes and v.storage not in blocks]
        seen.update([v.storage for v in call.outs])
        if made and call.into is not None and all(v.storage not in out and v.is_whole() for v in made):
            layout.into.add(call)
            new[call] = made
            blocks |= dict.fromkeys([v.storage for v in made], _UNPLACED)
    for i, call in enumerate(calls):
        layout.last.update({v.storage: i for v in (*call.reads, *call.outs)})
    dying: dict[int, list[Storage]] = {}
    for storage, i in layout.last.items():
        if storage in blocks and storage not in kept:
            dying.setdefault(i, []).append(storage)
    if before:  # what this section does not touch, and nobody needs later, is free from the start
        for storage in before.kept:
            if storage in blocks and storage not in layout.last and storage not in kept:
                free.give(blocks[storage])
    for i, call in enumerate(calls):
        ends = dying.get(i, [])
        for v in new.get(call, []):
            if (over := _overwritten(call, v, ends, layout)) is not None:
                ends.remove(over)
                blocks[v.storage] = blocks[over]
            else:
                blocks[v.storage] = free.take(v.storage.nbytes, v.device)
        for storage in ends:
            free.give(blocks[storage])
    _note_reuse(layout, new)
    return layout


def _overwritten(call: Call, v: Value, ends: Sequence[Storage], layout: Layout) -> Storage | None:
    """A storage that a call reads last, and over which it may write element by element."""
    if torch.Tag.pointwise not in call.func.tags or call.into is None or len(call.into) != 1 or len(call.outs) != 1:
        return None
    for read in call.reads:
        same = (read.shape, read.stride, read.dtype) == (v.shape, v.stride, v.dtype) and read.is_whole()
        if same and read.storage in ends and all(r is read for r in call.reads if r.storage is read.storage):
            return read.storage
    return None


def _note_reuse(layout: Layout, new: dict[Call, list[Value]]) -> None:
    """For the printed plan: whose memory each call takes."""
    owners: dict[tuple[Chunk, int], Storage] = {}
    for call in layout.calls:
        for v in new.get(call, []):
            block = layout.blocks[v.storage]
            if (earlier := owners.get((block.chunk, block.offset))) is not None:
                layout.reused.setdefault(call, []).append(earlier)
            owners[block.chunk, block.offset] = v.storage
