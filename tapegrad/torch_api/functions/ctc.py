"""Connectionist temporal classification: the probability of a sequence of labels, over all its alignments."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.torch_api.composition import composition

NEVER = -1e30  # the logarithm of a probability of nothing: finite, so that no gradient is NaN
NONE, MEAN, SUM = range(3)


@composition(torch.ctc_loss)
def ctc_loss(
    log_probs: Any,
    targets: torch.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = NONE,  # torch's own default, though it is written as the mean
    zero_infinity: bool = False,
) -> Any:
    """Graves et al. 2006, equations 6 to 8: -log p of each target, by the forward variables in logarithms."""
    batched = log_probs.ndim == 3
    if not batched:
        log_probs = log_probs.unsqueeze(1)
    steps, n, _ = log_probs.shape
    device = log_probs.device
    lengths = torch.as_tensor(input_lengths, device=device).reshape(-1).long()
    counts = torch.as_tensor(target_lengths, device=device).reshape(-1).long()
    refuse_lengths(steps, n, targets, lengths, counts)
    labels = padded_targets(targets, counts, n, blank)
    states = torch.full(
        (n, 2 * labels.shape[1] + 1), blank, device=device
    )  # a blank before, between and after the labels
    states[:, 1::2] = labels
    skips = torch.zeros_like(states, dtype=torch.bool)
    skips[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])

    each = log_probs.gather(2, states.expand(steps, *states.shape))
    never = torch.full((n, 1), NEVER, dtype=log_probs.dtype, device=device)
    place = torch.arange(states.shape[1], device=device)
    starts = (place < 2) & ((place == 0) | (counts > 0).unsqueeze(1))
    alpha = torch.where(starts, each[0], NEVER)
    alphas = [alpha]
    for t in range(1, steps):
        before = torch.cat([never, alpha[:, :-1]], 1)
        skipping = torch.where(skips, torch.cat([never, never, alpha[:, :-2]], 1)[:, : states.shape[1]], NEVER)
        alpha = torch.logsumexp(torch.stack([alpha, before, skipping]), 0) + each[t]
        alphas.append(alpha)
    ends = torch.stack(alphas)[(lengths - 1).clamp(min=0), torch.arange(n, device=device)]
    two = torch.stack([2 * counts, (2 * counts - 1).clamp(min=0)], 1)
    both = torch.where(torch.stack([counts >= 0, counts > 0], 1), ends.gather(1, two), NEVER)
    loss = -torch.logsumexp(both, 1)
    impossible = loss.detach() > -NEVER / 2

    # torch takes log_probs to be normalized, and adds the gradient that log_softmax would take away again.
    used = (torch.arange(steps, device=device).unsqueeze(1) < lengths).unsqueeze(2)
    mass = torch.where(used, log_probs, -torch.inf).exp().sum((0, 2))
    loss = loss + (mass - mass.detach())
    if zero_infinity:
        loss = torch.where(impossible, 0.0, loss)
    else:
        loss = loss * torch.where(impossible, torch.inf, 1.0).to(loss.dtype)
    if reduction == MEAN:
        return (loss / counts.clamp(min=1).to(loss.dtype)).mean()
    if reduction == SUM:
        return loss.sum()
    return loss if batched else loss.squeeze(0)


def refuse_lengths(steps: int, n: int, targets: torch.Tensor, lengths: torch.Tensor, counts: torch.Tensor) -> None:
    """Refuse what torch refuses, lengths that do not fit; by their values, which change from call to call."""
    labels = targets.shape[-1]
    for name, given, most in (("input_lengths", lengths, steps), ("target_lengths", counts, labels)):
        if len(given) != n or not ((given >= 0) & (given <= most)).all():
            raise RuntimeError(f"ctc_loss(): {name} must be {n} numbers from 0 to {most}, not {given.tolist()}")
    fits = targets.shape[0] == n if targets.ndim == 2 else labels == int(counts.sum())
    if not fits:
        raise RuntimeError(
            f"ctc_loss(): targets, of shape {tuple(targets.shape)}, must be {n} rows, or all labels one after another, "
            f"as many as target_lengths, {counts.tolist()}, add up to"
        )


def padded_targets(targets: torch.Tensor, counts: torch.Tensor, n: int, fill: int) -> torch.Tensor:
    """Targets as a row each, from rows or from one after another."""
    longest = int(counts.max()) if counts.numel() else 0
    rows = torch.full((n, longest), fill, device=counts.device)
    start = 0
    for i, count in enumerate(counts.tolist()):
        rows[i, :count] = targets[start : start + count] if targets.ndim == 1 else targets[i, :count]
        start += count
    return rows
