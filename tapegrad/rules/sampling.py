"""Rules of random draws: how a drawn value moves with the parameters of its distribution, its quantile held fixed."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad.engine.table import rule

# Implicit reparametrization: dz/da = -(dF/da) / (dF/dz), for the distribution function F(z; a), which torch evaluates.
# Source: Figurnov, Mohamed and Mnih, "Implicit Reparameterization Gradients", 2018. A record keeps the state of the
# generator from before the draw, so that a replay draws the same.


@rule(input=lambda g, out, input: g * torch._standard_gamma_grad(input, out))
def standard_gamma(input: Any, generator: torch.Generator) -> Any:
    """Values of the gamma distribution of scale 1, from a copy of the generator."""
    return torch._standard_gamma(input, generator.clone_state())


def dirichlet_gradient(g: Any, out: Any, input: Any) -> Any:
    """Each of the drawn shares moves the others, for their sum is 1."""
    total = input.sum(-1, True).expand_as(input)
    return torch._dirichlet_grad(out, input, total) * (g - (out * g).sum(-1, True))


@rule(input=dirichlet_gradient)
def sample_dirichlet(input: Any, generator: torch.Generator) -> Any:
    """Shares of a whole, of the Dirichlet distribution, from a copy of the generator."""
    return torch._sample_dirichlet(input, generator.clone_state())
