"""What the random functions of plans.py are made of, line by line."""

from __future__ import annotations

from typing import Any

import torch

from tapegrad import Tensor

LARGEST = 300  # elements of a value

# ``u`` and ``v`` stand for earlier values; a line that is no expression is a statement.
STEPS = [
    "torch.tanh(u)", "-u", "u.abs()", "u.exp()", "(u.abs() + 1).log()", "torch.relu(u)", "torch.sigmoid(u)", "u ** 2",
    "u ** 3", "(u.abs() + 1) ** -0.5", "u + u", "u * u", "1 - u", "3 * u", "u / 3", "2 / (u.abs() + 1)", "u + 1",
    "u.masked_fill(u.detach() > 0, 1.5)", "u.sum()", "u.sum(0)", "u.sum(-1, keepdim=True)", "u.mean()",
    "u.mean(0, keepdim=True)", "u.max(-1).values", "u.max()", "u.logsumexp(-1)", "u.softmax(-1)", "u.var(0)",
    "u.clone()", "u.double().float()", "u.cumsum(0)", "torch.stack([u, u])", "torch.cat([u, u])", "F.gelu(u)",
    "torch.zeros_like(u) + u", "u.to(torch.bfloat16).to(torch.float32)", "u.norm()", "F.layer_norm(u, u.shape[-1:])",
    # views
    "u.view(-1)", "u.reshape(-1)", "u.t()", "u.transpose(0, -1)", "u[0]", "u[1:]", "u[::2]", "u[..., -1]", "u[None]",
    "u.expand(2, *u.shape)", "u.unsqueeze(-1)", "u.squeeze()", "u.detach()", "u.contiguous()", "u.flatten()[:4]",
    # two
    "u + v", "u - v", "u * v", "u / (v.abs() + 1)", "u @ v", "torch.maximum(u, v)", "torch.where(u > v, u, v)",
    "torch.cat([u, v])", "u * v + v", "(u - v) ** 2", "torch.addcmul(u, u, v)", "u * v.detach()",
    # what the function is given and what it captures
    "x @ a", "x @ a + b", "x @ a", "u * s", "u * scale", "u * factor", "u[index]", "u + buffer", "u * (2 if flag else 3)",
    "u.tanh() if flag else u", "a[:, 1:]", "x * 1.5", "F.cross_entropy(u, index % 4)",
    "u[torch.arange(u.shape[0]), index]",
    # what is not pure
    "F.dropout(u, 0.5)", "u + torch.rand_like(u.detach())", "u * torch.randn(u.shape)", "torch.bernoulli(torch.sigmoid(u))",
    "F.batch_norm(u, mean, var, training=flag)", "buffer.add_(1)", "buffer.mul_(0.9).add_(u.detach().mean(), alpha=0.1)",
    "buffer.copy_(u.detach().sum())",
    # in place
    "v0 = u + 1; v0 += v", "v0 = u * 2; v0.mul_(v)", "v0 = u.clone(); v0[0] = 2.0", "v0 = u.clone(); v0[0] = v",
    "v0 = u * 1; v0.exp_()", "v0 = u + 0; v0.relu_(); v0 = v0 * 2", "v0 = u.detach().clone(); v0.add_(v.detach())",
    "v0 = torch.zeros_like(u.detach()); v0[..., -1] = 1.0", "v0 = torch.empty_like(u.detach()).fill_(3.0)",
    "v0 = u.detach().clone().unsqueeze_(0)", "v0 = u.data.view(-1).clone(); v0[::2] = 0.0", "x.mul_(1.5)",
    # modes
    "torch.no_grad: v0 = u * 2", "torch.no_grad: v0 = torch.tanh(u) + v", "torch.enable_grad: v0 = u * 2",
    "torch.no_grad: v0 = u.detach().clone(); v0.mul_(2)",
]  # fmt: skip
_NOT_PURE = ("dropout", "rand", "bernoulli", "batch_norm", "buffer.", "x.mul_")
OUTPUTS = [
    "{u}.sum()", "({u} * 2).mean()", "({u} ** 2).sum() + {v}.sum()", "{u} + 1", "{u}, {v}", "{u}, {u}.sum()",
    "{{'one': {u}, 'more': [{v}, scale, x, None]}}", "[{v}.view(-1), {v}, ({u} * {u}).sum()]", "{u}, a, b",
]  # fmt: skip


class Draft:
    """A function that grows line by line; a line that does not run on an example is left out.

    Args:
        names: the example: what is in the function's scope.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self.scope = names
        self.values = ["x", "a", "b", "s"]
        self.lines: list[str] = []
        self.is_pure = True

    def add(self, text: str, i: int, j: int) -> None:
        """Add a line, with earlier values in the place of ``u`` and ``v``."""
        made = f"v{len(self.values)}"
        mode, _, rest = (
            text.partition(": ") if text.startswith("torch.no_grad:") or "enable_grad:" in text else ("", "", text)
        )
        inner = rest.replace("v0", made)
        line = self._filled(inner, i, j)
        if "=" not in rest.split("(")[0] and not rest.startswith(("buffer.", "x.mul_")):
            line = f"{made} = {line}"
        if mode:
            line = f"with {mode}(): {line}"
        before = dict(self.scope)
        try:
            exec(line, self.scope)
            value = self.scope.get(made)
            fits = value is None or (isinstance(value, (Tensor, torch.Tensor)) and value.numel() <= LARGEST)
        except Exception:
            fits = False
        if not fits:
            self.scope = before
            return
        self.lines.append(line)
        if made in self.scope:
            self.values.append(made)
        self.is_pure = self.is_pure and not any(word in line for word in _NOT_PURE)

    def _filled(self, text: str, i: int, j: int) -> str:
        import re

        names = {"u": self.values[-1 - i % len(self.values)], "v": self.values[-1 - j % len(self.values)]}
        return re.sub(r"\b[uv]\b", lambda m: names[m[0]], text)

    def finish(self, form: str, i: int, j: int) -> str:
        """The source of the function, which returns some of its values."""
        u, v = self.values[-1 - i % len(self.values)], self.values[-1 - j % len(self.values)]
        for returned in (form.format(u=u, v=v), f"{u} * 1"):
            try:
                exec(f"_ = {returned}", self.scope)
                break
            except Exception:
                continue
        body = [*self.lines, f"return {returned}"]
        return "\n".join(["def f(x, a, index, scale, flag):", *[f"    {line}" for line in body], ""])
