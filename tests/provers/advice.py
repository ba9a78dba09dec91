"""Errors with advice, each with what the advice says to do: ``tests/docs/test_advice.py`` runs both.

A case is code that fails, and for each way out that its message names, the code after following it to the letter. All
code knows ``x``, a leaf of shape (5, 3); ``v``, one of three elements; ``p``, a parameter of torch's; and ``leaf``,
``torch``, ``F``, ``np`` and ``tapegrad``.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One misuse.

    Attributes:
        wrong: code whose last statement fails.
        right: the same code, changed as the message says, once for each way out that it names.
    """

    wrong: str
    right: tuple[str, ...]


def case(wrong: str, *right: str) -> Case:
    return Case(wrong, right)


WALKS = [
    case(
        "w = leaf(torch.ones(3)); y = (w * 2).sum(); w.requires_grad = False; w.add_(v); y.backward()",
        "w = leaf(torch.ones(3)); y = (w * 2).sum(); u = w.clone(); u.add_(v); y.backward()",
    ),
    case(
        "with tapegrad.recording(): y = (p * p).sum(); p.data = torch.ones(5); y.backward()",
        "with tapegrad.recording(): y = (p * p).sum(); y.backward(); p.data = torch.ones(5)",
        "with tapegrad.recording(): y = (p * p).sum(); p.data = torch.ones(5); y = (p * p).sum(); y.backward()",
    ),
    case(
        "from tapegrad.fast import walk_source; y = v.exp().sum(); y.backward(); walk_source.text(y.record)",
        "from tapegrad.fast import walk_source; y = v.exp().sum(); walk_source.text(y.record); y.backward()",
    ),
    case(
        "a = leaf(torch.zeros(90, 90)); tapegrad.grad(torch.linalg.det(a), a, create_graph=True)",
        "a = leaf(torch.zeros(90, 90)); tapegrad.grad(torch.linalg.det(a), a)",
    ),
    case(
        "y = v.exp().sum(); y.backward(); y.backward()",
        "y = v.exp().sum(); y.backward(retain_graph=True); y.backward()",
        "y = v.exp().sum(); t = tapegrad.tape(y); y.backward()",
    ),
    case("x.exp().backward()", "x.exp().sum().backward()", "x.exp().backward(torch.ones(5, 3))"),
    case("(v * 1j).sum().backward()", "(v * 1j).sum().backward(torch.tensor(1 + 0j))"),
    case(
        "leaf(v.data, False).exp().sum().backward()",
        "u = leaf(v.data, False); u.requires_grad = True; u.exp().sum().backward()",
    ),
    case("with torch.no_grad(): y = v.sum()\ny.backward()", "with torch.no_grad(): pass\ny = v.sum()\ny.backward()"),
    case("v.sum().backward(inputs=[])", "v.sum().backward(); assert v.grad is not None"),
    case("tapegrad.grad(v.sum(), [])", "tapegrad.grad(v.sum(), [v])"),
    case(
        "v.exp().sum().backward(create_graph=True)", "loss = v.exp().sum(); tapegrad.grad(loss, v, create_graph=True)"
    ),
    case("tapegrad.grad(v.sum(), x)", "assert tapegrad.grad(v.sum(), x, allow_unused=True) == (None,)"),
    case(
        "tapegrad.grad(v.sum(), v, materialize_grads=True, allow_unused=False)",
        "tapegrad.grad(v.sum(), v, materialize_grads=True, allow_unused=True)",
        "tapegrad.grad(v.sum(), v, materialize_grads=True)",
    ),
    case("v.exp().requires_grad = False", "assert not v.exp().detach().requires_grad"),
    case("leaf(torch.ones(3, dtype=torch.long))", "leaf(torch.ones(3, dtype=torch.long).float())"),
    case("leaf(v)", "leaf(v.data.detach())"),
    case(
        "v.data = torch.ones(3, dtype=torch.long)", "v.requires_grad = False; v.data = torch.ones(3, dtype=torch.long)"
    ),
    case("leaf(v.data, False).retain_grad()", "u = leaf(v.data, False); u.requires_grad = True; u.retain_grad()"),
    case(
        "with torch.inference_mode(): u = torch.ones(3)\nleaf(u)",
        "with torch.inference_mode(): u = torch.ones(3)\nleaf(u.clone())",
    ),
    case(
        "with torch.inference_mode(): u = torch.ones(3)\n(v * u).sum()",
        "with torch.inference_mode(): u = torch.ones(3)\n(v * u.clone()).sum().backward()",
        "with torch.no_grad(): u = torch.ones(3)\n(v * u).sum().backward()",
    ),
    case(
        "u = torch.ones(3); y = (v * u).sum(); u += 1; y.backward()",
        "u = torch.ones(3); y = (v * u).sum(); u = u.clone(); u += 1; y.backward()",
        "u = torch.ones(3); y = (v * u).sum(); y.backward(); u += 1",
    ),
    case(
        "y = v.exp().sum(); v.data = torch.ones(5); y.backward()",
        "y = v.exp().sum(); y.backward(); v.data = torch.ones(5)",
        "y = v.exp().sum(); v.data = torch.ones(5); y = v.exp().sum(); y.backward()",
    ),
    case(
        "y = (v * v).sum(); v.data = torch.ones(3); tapegrad.grad(y, v, create_graph=True)",
        "y = (v * v).sum(); tapegrad.grad(y, v, create_graph=True); v.data = torch.ones(3)",
    ),
    case(
        "v.grad = torch.ones(1).expand(3); v.exp().sum().backward()",
        "v.grad = torch.ones(1).expand(3); v.grad = v.grad.clone(); v.exp().sum().backward()",
    ),
    case("class Own(tapegrad.Tensor): pass", "class Own: pass\nOwn.held = v"),
    case(
        "u = p * 2; v * u",
        "with tapegrad.recording(): u = p * 2; (v * u).sum().backward()",
        "u = p * 2; (v * u.detach()).sum().backward()",
    ),
]

IN_PLACE = [
    case(
        "v.add_(1)",
        "v.data.add_(1)",
        "with torch.no_grad(): v.add_(1)",
        "v = v.clone(); v.add_(1); v.sum().backward()",
    ),
    case(
        "h = v * 2; view = h[:2]; view.add_(v[:2])",
        "h = v * 2; view = h[:2]; view = view.clone(); view.add_(v[:2]); view.sum().backward()",
        "h = v * 2; h[:2] += v[:2]; h.sum().backward()",
        "h = v * 2; h[:2] = v[:2]; h.sum().backward()",
    ),
    case(
        "torch.zeros(3).add_(v)",
        "tapegrad.tensor(torch.zeros(3)).add_(v).sum().backward()",
        "torch.zeros(3).add_(v.detach())",
    ),
    case(
        "out = torch.zeros(5, 3); out[0] = v",
        "out = torch.zeros(5, 3); out = tapegrad.tensor(out); out[0] = v; out.sum().backward()",
        "out = torch.zeros(5, 3); out[0] = v.detach()",
    ),
    case(
        "out = torch.zeros(5, 3); out[[0, 0]] += v",
        "out = torch.zeros(5, 3); out = tapegrad.tensor(out); out[[0, 0]] += v; out.sum().backward()",
    ),
    case(
        "out = torch.zeros(3); torch.add(v, 1, out=out)",
        "out = torch.add(v, 1); out.sum().backward()",
    ),
    case("h = v * 1; torch._C._nn.elu_(h, 1.0, 2.0)", "h = F.elu_(v * 1, 1.0) * 2.0; h.sum().backward()"),
    case("h = v * 1; h.igamma_(v)", "h = v * 1; h.data.igamma_(v.detach())"),
]

CALLS = [
    case("v.numpy()", "v.detach().numpy()", "v.data.numpy()"),
    case("torch.from_dlpack(v)", "torch.from_dlpack(v.detach())"),
    case(
        "s = v.sum(); torch.tensor([s, s])",
        "s = v.sum(); torch.stack([s, s]).sum().backward()",
        "s = v.sum(); torch.tensor([s.item(), s.item()])",
        "s = v.sum(); torch.tensor([s.data, s.data])",
    ),
    case("import copy; copy.deepcopy(v * 2)", "(v * 2).clone().sum().backward()", "(v * 2).detach()"),
    case("x['a']", "x[0], x[:2], x[None], x[..., 0], x[x > 0], x[[0, 1]]"),
    case(
        "v * np.ones(3)",
        "(v * torch.from_numpy(np.ones(3)).float()).sum().backward()",
    ),
    case("torch.sub(v, torch.tensor([True, False, True]), alpha=2)", "v * ~torch.tensor([True, False, True])"),
    case(
        "q = torch.ones(1, 2, 4); m = leaf(torch.zeros(2, 2)); "
        "F.scaled_dot_product_attention(leaf(q), q, q, attn_mask=m, is_causal=True)",
        "q = torch.ones(1, 2, 4); m = leaf(torch.zeros(2, 2)); "
        "F.scaled_dot_product_attention(leaf(q), q, q, attn_mask=m).sum().backward()",
        "q = torch.ones(1, 2, 4); F.scaled_dot_product_attention(leaf(q), q, q, is_causal=True).sum().backward()",
    ),
    case("torch.cumsum(v, 0, dtype=torch.long)", "torch.cumsum(v.detach(), 0, dtype=torch.long)"),
    case("F.embedding(torch.tensor([0]), x, sparse=True)", "F.embedding(torch.tensor([0]), x).sum().backward()"),
    case(
        "F.embedding_bag(torch.tensor([[0, 1]]), x, mode='sum', scale_grad_by_freq=True)",
        "F.embedding(torch.tensor([[0, 1]]), x, scale_grad_by_freq=True).sum(1).sum().backward()",
    ),
    case("torch.linalg.qr(x, mode='r')", "torch.linalg.qr(x, mode='reduced')[1].sum().backward()"),
    case(
        "torch.bincount(torch.tensor([0, 1, 1]), v)",
        "torch.zeros(2).index_add(0, torch.tensor([0, 1, 1]), v).sum().backward()",
        "torch.bincount(torch.tensor([0, 1, 1]), v.detach())",
    ),
    case(
        "torch.full((3,), v[0])",
        "v[0].expand((3,)).sum().backward()",
        "torch.full((3,), v[0].item())",
    ),
    case("torch.arange(0, v[0] + 3)", "torch.arange(0, (v[0] + 3).item())"),
    case("torch.autograd.grad(v.sum(), v)", "tapegrad.grad(v.sum(), v)", "v.sum().backward()"),
    case("torch.ops.aten.sin.default(v)", "torch.sin(v).sum().backward()"),
    case(
        "torch.ops.aten._pdist_forward(x)",
        "torch.pdist(x).sum().backward()",
        "torch.ops.aten._pdist_forward(x.detach())",
    ),
    case(
        "torch._fused_dropout(v, 0.5)",
        "(v * torch.bernoulli(torch.full((3,), 0.5)) / 0.5).sum().backward()",
    ),
    case(
        "half(v, v)",
        "half(v, v.detach()).sum().backward()",
        "tapegrad.rule(x=lambda g: g, y=lambda g: g)(lambda x, y: x + y)(v, v).sum().backward()",
    ),
    case(
        "torch.select_scatter(torch.zeros(2, 3, dtype=torch.long), v, 0, 1)",
        "torch.select_scatter(torch.zeros(2, 3), v, 0, 1).sum().backward()",
        "torch.select_scatter(torch.zeros(2, 3, dtype=torch.long), v.detach(), 0, 1)",
    ),
    case(
        "class Twice(torch.autograd.Function):\n"
        "    forward = staticmethod(lambda ctx, x: x * 2)\n"
        "    backward = staticmethod(lambda ctx, g: g * 2)\n"
        "Twice.apply(v)",
        "twice = tapegrad.rule(x=lambda g: g * 2)(lambda x: x * 2); twice(v).sum().backward()",
        "(v * 2).sum().backward()",
        "class Twice(torch.autograd.Function):\n"
        "    forward = staticmethod(lambda ctx, x: x * 2)\n"
        "    backward = staticmethod(lambda ctx, g: g * 2)\n"
        "Twice.apply(v.detach())",
    ),
    case(
        "m = torch.nn.Linear(3, 2); m.register_full_backward_hook(lambda *a: None)\nwith tapegrad.recording(): m(v)",
        "m = torch.nn.Linear(3, 2); m.register_forward_hook(lambda m, i, o: o.register_hook(lambda g: None) and None)\n"
        "with tapegrad.recording(): m(v).sum().backward()",
    ),
    case(
        "torch.istft(s, 4, 2, window=torch.zeros(4), length=6)", "torch.istft(s, 4, 1, window=torch.ones(4), length=6)"
    ),
    case(
        "torch.linalg.eig(x[:3])[1].sum().abs().backward()",
        "V = torch.linalg.eig(x[:3])[1]; (V * V.conj()).real.sum().backward()",
    ),
]

REASONS = [
    case(
        "torch.linspace(v[0], 3, 5)",
        "(v[0] + (3 - v[0]) * torch.linspace(0, 1, 5)).sum().backward()",
        "torch.linspace(v[0].item(), 3, 5)",
    ),
    case(
        "torch.logspace(v[0], 3, 5)",
        "(10.0 ** (v[0] + (3 - v[0]) * torch.linspace(0, 1, 5))).sum().backward()",
        "torch.logspace(v[0].item(), 3, 5)",
    ),
    case("torch.kl_div(v, torch.ones(3))", "F.kl_div(v, torch.ones(3), reduction='sum').backward()"),
    case(
        "torch.normal(leaf(torch.ones(3) * 1j), torch.ones(3))",
        "torch.normal(leaf(torch.ones(3) * 1j).detach().data, torch.ones(3))",
    ),
    case("torch.view_as_real_copy(v * 1j)", "torch.view_as_real(v * 1j).clone().sum().backward()"),
    case("torch.nn.functional.grouped_mm(x.T, x)", "torch.linalg.matmul(x.T, x).sum().backward()"),
    case(
        "torch.miopen_rnn(v, [v], 0, v, None, 0, 1, 1, False, 0.0, False, False, [], None)",
        "m = torch.nn.RNN(3, 2)\nwith tapegrad.recording(): m(x)[0].sum().backward()",
        "m = torch.nn.GRU(3, 2)\nwith tapegrad.recording(): m(x)[0].sum().backward()",
        "m = torch.nn.LSTM(3, 2)\nwith tapegrad.recording(): m(x)[0].sum().backward()",
    ),
    case(
        "torch.native_group_norm(x[None], None, None, 1, 5, 3, 1, 1e-5)[1].sum().backward()",
        "torch.nn.functional.group_norm(x[None], 1).sum().backward()",
    ),
    case(
        "torch.lobpcg(x.T @ x)",
        "torch.linalg.svd(x.T @ x)[1].sum().backward()",
        "torch.linalg.eigh(x.T @ x)[0].sum().backward()",
    ),
    case("h = v * 1; h.float_power_(2)", "h = v * v; h.sum().backward()"),
    case("torch.igamma(v.exp(), v.exp())", "torch.igamma(v.exp().detach(), v.exp().detach())"),
    case(
        "torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)",
        "torch.quantize_per_tensor(v.detach(), 0.1, 0, torch.qint8)",
    ),
    case("x.to_sparse()", "x * 1", "x.detach().to_sparse()"),
    case("torch.native_dropout(x, 0.5, True)", "F.dropout(x, 0.5, True).sum().backward()"),
    case("torch.nuclear_norm(x)", "torch.linalg.matrix_norm(x, 'nuc').backward()"),
    case("torch.native_norm(x)", "torch.linalg.vector_norm(x).backward()"),
    case(
        "torch.native_channel_shuffle(x[None, :4, :, None], 2)",
        "F.channel_shuffle(x[None, :4, :, None], 2).sum().backward()",
    ),
    case(
        "torch.conv_tbc(leaf(torch.ones(5, 1, 3)), torch.ones(2, 3, 4), torch.zeros(4))",
        "F.conv1d(leaf(torch.ones(1, 3, 5)), torch.ones(4, 3, 2)).sum().backward()",
        "F.conv2d(leaf(torch.ones(1, 3, 5, 5)), torch.ones(4, 3, 2, 2)).sum().backward()",
        "F.conv3d(leaf(torch.ones(1, 3, 5, 5, 5)), torch.ones(4, 3, 2, 2, 2)).sum().backward()",
    ),
    case(
        "torch.mkldnn_max_pool2d(leaf(torch.rand(1, 1, 4, 4)), 2)",
        "F.max_pool2d(leaf(torch.rand(1, 1, 4, 4)), 2).sum().backward()",
        "F.max_pool3d(leaf(torch.rand(1, 1, 4, 4, 4)), 2).sum().backward()",
        "F.adaptive_avg_pool2d(leaf(torch.rand(1, 1, 4, 4)), 2).sum().backward()",
    ),
    case(
        "torch.sparse.mm(torch.eye(5).to_sparse(), x)",
        "torch.mm(torch.eye(5).to_sparse().to_dense(), x).sum().backward()",
        "torch.addmm(x, torch.eye(5).to_sparse().to_dense(), x).sum().backward()",
    ),
    case(
        "torch.sparse.sampled_addmm(torch.eye(5).to_sparse_csr(), x, x.T)",
        "(torch.addmm(torch.eye(5).to_sparse_csr().to_dense(), x, x.T) * torch.eye(5)).sum().backward()",
    ),
    case(
        "torch.sparse.softmax(x, 1)",
        "torch.softmax(x, 1).sum().backward()",
        "torch.log_softmax(x, 1).sum().backward()",
        "torch.sum(x).backward()",
    ),
    case("torch.nn.Parameter(x)", "torch.nn.Parameter(x.data)"),
    case("torch.nn.Buffer(x)", "torch.nn.Buffer(x.data)"),
    case(
        "torch.as_strided_scatter(v, v[:2], (2,), (1,))",
        "torch.slice_scatter(v, v[:2], 0, 0, 2).sum().backward()",
        "torch.diagonal_scatter(x, v).sum().backward()",
    ),
    case("torch.vander(v)", "torch.linalg.vander(v).flip(-1).sum().backward()"),
    case("torch.slice_copy(v, 0, 0, 2)", "v[..., 0:2].clone().sum().backward()"),
    case("v.resize_(1, 3)", "v.reshape(1, 3).sum().backward()", "torch.cat([v, v]).sum().backward()"),
    case("v.share_memory_()", "v.data.share_memory_()"),
    case("v.ipu()", "v.to('cpu').sum().backward()"),
    case("h = v * 1; del h[0]", "torch.cat([v[1:]]).sum().backward()"),
]

RULES = [
    case("tapegrad.rule(torch.frac)", "tapegrad.rule(x=lambda g: g)(lambda x: x)"),
    case(
        "tapegrad.rule(lambda **k: 1, '**k', input=lambda g: g)",
        "tapegrad.rule(lambda input, *, dim=None: input, 'input, *, dim=None', input=lambda g: g)",
    ),
    case("tapegrad.rule(x=min)(lambda x: x)", "tapegrad.rule(x=lambda g: min(g, g))(lambda x: x)"),
    case(
        "tapegrad.rule(lambda x: x, 'x=f()', x=lambda g: g)",
        "tapegrad.rule(lambda x, y=None: x, 'x, y=math.inf', x=lambda g: g)",
        "tapegrad.rule(x=lambda g: g)(lambda x, y=None: x)",
    ),
    case(
        "tapegrad.rule(aux='indices', x=lambda g: g)(lambda x: (x, x))",
        "tapegrad.rule(aux=['indices'], x=lambda g: g)(lambda x: (x, x))",
    ),
    case("tapegrad.rule(x=lambda h: h)(lambda x: x)", "tapegrad.rule(x=lambda g: g)(lambda x: x)"),
    case("tapegrad.rule(x=lambda: 1)(lambda x: x)", "tapegrad.rule(x=lambda g, out: g * out)(lambda x: x)"),
    case(
        "tapegrad.rule(x=lambda g: 0)(lambda x: x * 1)(v).sum().backward()",
        "tapegrad.rule(x=lambda g: torch.zeros_like(g))(lambda x: x * 1)(v).sum().backward()",
        "tapegrad.rule(y=lambda g: g)(lambda x, y: x * y)(v.detach(), v).sum().backward()",
    ),
    case(
        "tapegrad.rule(x=lambda g: g.to_sparse())(lambda x: x * 1)(v).sum().backward()",
        "tapegrad.rule(x=lambda g: g.to_sparse().to_dense())(lambda x: x * 1)(v).sum().backward()",
    ),
    case(
        "tapegrad.rule(x=lambda g: g.to('meta'))(lambda x: x * 1)(v).sum().backward()",
        "tapegrad.rule(x=lambda g: torch.ones(3).to(g.device))(lambda x: x * 1)(v).sum().backward()",
    ),
    case(
        "tapegrad.rule(x=lambda g: p)(lambda x: x * 1)(v).sum().backward()",
        "tapegrad.rule(x=lambda g, q: q)(lambda x, q: x * 1)(v, p.detach()).sum().backward()",
        "tapegrad.rule(x=lambda g: p.detach())(lambda x: x * 1)(v).sum().backward()",
    ),
    case(
        "tapegrad.rule(x=lambda g: g)(lambda x: x * p)(v)",
        "tapegrad.rule(x=lambda g: g, q=lambda g: g)(lambda x, q: x * q)(v, p.detach()).sum().backward()",
        "tapegrad.rule(x=lambda g: g)(lambda x: x * p.detach())(v).sum().backward()",
    ),
    case(
        "tapegrad.rule(x=lambda g: g)(lambda x: x * v)(v)",
        "tapegrad.rule(x=lambda g: g)(lambda x, w: x * w)(v, v.detach()).sum().backward()",
        "tapegrad.rule(x=lambda g: g)(lambda x: x * v.data)(v).sum().backward()",
    ),
]

TOOLS = [
    case(
        "tapegrad.gradcheck(lambda a: {'a': a}, [leaf(v.data.double())])",
        "tapegrad.gradcheck(lambda a: a, [leaf(v.data.double())])",
    ),
    case(
        "y = v\nfor _ in range(500): y = y.exp()\ntapegrad.viz.graph(y.sum(), max_nodes=5)",
        "y = v\nfor _ in range(500): y = y.exp()\ntapegrad.viz.graph(y.sum(), max_nodes=502)",
        "y = v\nfor _ in range(500): y = y.exp(); z = z if _ > 2 else y\ntapegrad.viz.graph(z.sum(), max_nodes=6)",
    ),
    case(
        "def f(g):\n    t = g * 2; t.unsqueeze_(0); return t.squeeze(0)\n"
        "tapegrad.tape(tapegrad.rule(x=f)(lambda x: x * 1)(v).sum()).source()",
        "def f(g):\n    t = g * 2; t = t.unsqueeze(0); return t.squeeze(0)\n"
        "tapegrad.tape(tapegrad.rule(x=f)(lambda x: x * 1)(v).sum()).source()",
    ),
    case(
        "def f(g):\n    t = g * 1; w = torch.einsum('i->i', t); t.mul_(2); return t + w\n"
        "tapegrad.tape(tapegrad.rule(x=f)(lambda x: x * 1)(v).sum()).source()",
        "def f(g):\n    t = g * 1; w = torch.einsum('i->i', t); t = t.clone(); t.mul_(2); return t + w\n"
        "tapegrad.tape(tapegrad.rule(x=f)(lambda x: x * 1)(v).sum()).source()",
    ),
    case(
        "def f(g):\n    t = g * 1; w = torch.einsum('i->i', t); w.mul_(2); return t\n"
        "tapegrad.tape(tapegrad.rule(x=f)(lambda x: x * 1)(v).sum()).source()",
        "def f(g):\n    t = g * 1; w = torch.einsum('i->i', t).clone(); w.mul_(2); return t\n"
        "tapegrad.tape(tapegrad.rule(x=f)(lambda x: x * 1)(v).sum()).source()",
    ),
    case(
        "def f(g):\n    t = g.expand(2, 3); return t.as_strided((3,), (1,)).clone()\n"
        "tapegrad.tape((tapegrad.rule(x=f)(lambda x: x * 1)(v) * v).sum()).source(style='plain')",
        "def f(g):\n    t = g.expand(2, 3); return t.as_strided((3,), (1,)).clone()\n"
        "tapegrad.tape((tapegrad.rule(x=f)(lambda x: x * 1)(v) * v).sum()).source(style='exact')",
    ),
    case(
        "t = tapegrad.tape(v.exp().sum()); t.grad('v')", "t = tapegrad.tape(v.exp().sum()); t.backward(); t.grad('v')"
    ),
    case("tapegrad.tape(v.exp()).backward()", "tapegrad.tape(v.exp()).backward(torch.ones(3))"),
    case(
        "tapegrad.compare(v.sum(), names={'v': v, 'c': leaf(v.data, False)})",
        "tapegrad.compare(v.sum(), names={'v': v})",
    ),
    case(
        "tapegrad.compare(v.sum(), names={'v': v, 'x': x})",
        "tapegrad.compare(v.sum(), names={'v': v})",
        "tapegrad.compare(v.sum() + x.sum(), names={'v': v, 'x': x})",
    ),
    case("tapegrad.compare(v.sum(), names={})", "tapegrad.compare(v.sum())"),
    case(
        "u = leaf(torch.ones(2, device='meta')); tapegrad.compare(u.sum())",
        "u = leaf(torch.ones(2)); tapegrad.compare(u.sum())",
    ),
    case(
        "tapegrad.gradcheck(lambda a: 3, [leaf(v.data.double())])",
        "tapegrad.gradcheck(lambda a: a.exp(), [leaf(v.data.double())])",
        "tapegrad.gradcheck(lambda a: [a.exp(), a], [leaf(v.data.double())])",
    ),
    case(
        "tapegrad.gradcheck(lambda a: a.log(), [leaf(torch.zeros(2).double())])",
        "tapegrad.gradcheck(lambda a: a.log(), [leaf(torch.ones(2).double())])",
    ),
    case(
        "tapegrad.derive(tapegrad.tape(v.sum(), v.exp()), v)", "loss = v.sum(); tapegrad.derive(tapegrad.tape(loss), v)"
    ),
    case("tapegrad.derive(v.exp().sum(), x)", "tapegrad.derive(v.exp().sum(), v)"),
    case("loss = v.exp().sum(); tapegrad.derive(loss, loss)", "loss = v.exp().sum(); tapegrad.derive(loss, v)"),
    case(
        "h = x.exp(); k = v.exp(); loss = (h * k).sum(); tapegrad.derive(loss, x, start=k)",
        "h = x.exp(); k = v.exp(); loss = (h * k).sum(); tapegrad.derive(loss, x)",
    ),
    case(
        "tapegrad.tape(v.sum(), v.exp()).source(style='closed')",
        "[tapegrad.tape(o).source(style='closed') for o in (v.sum(), v.exp().sum())]",
    ),
    case(
        "tapegrad.tape(v.exp().sum()).source(style='closed', forward=True)",
        "tapegrad.tape(v.exp().sum()).source(style='plain', forward=True)",
        "tapegrad.tape(v.exp().sum()).source(style='exact', forward=True)",
    ),
    case("tapegrad.vjp(lambda a: 'text', v.data)", "tapegrad.vjp(lambda a: a.sum(), v.data)"),
    case("tapegrad.vjp(lambda a: a, v.data)", "tapegrad.vjp(lambda a: a, v.data, torch.ones(3))"),
    case("tapegrad.hessian(lambda a: a, v.data)", "tapegrad.hessian(lambda a: (a * a).sum(), v.data)"),
    case(
        "tapegrad.viz.graph(v.exp().log().sum(), max_nodes=1)", "tapegrad.viz.graph(v.exp().log().sum(), max_nodes=4)"
    ),
    case(
        "tapegrad.viz.draw(v.sum(), fontsize=0)",
        "tapegrad.viz.draw(v.sum(), fontsize=20, size=(13.3, 7.5))",
    ),
    case(
        "tapegrad.viz.draw(v.sum(), values='some')",
        "tapegrad.viz.draw(v.sum(), values=True)",
        "tapegrad.viz.draw(v.sum(), values='all')",
    ),
    case("tapegrad.viz.draw(v.sum(), depth=0)", "tapegrad.viz.draw(v.sum(), depth=1)"),
    case(
        "tapegrad.viz.heat([1.0])",
        "import matplotlib; matplotlib.use('agg'); tapegrad.viz.heat(torch.tensor([1.0])).figure.clear()",
    ),
    case(
        "tapegrad.viz.heat(torch.ones(2, 3, 4))",
        "import matplotlib; matplotlib.use('agg'); t = torch.ones(2, 3, 4); "
        "tapegrad.viz.heat(t.reshape(t.shape[0], -1)[:1000]).figure.clear()",
    ),
    case(
        "with tapegrad.recording(): pass\ntapegrad.recording()(f_generator)",
        "def f():\n    with tapegrad.recording(): yield (p * 2).sum()\nnext(f()).backward()",
    ),
    case(
        "tapegrad.as_torch(lambda a: a * v)(torch.ones(3))",
        "v = torch.nn.Parameter(v.data); tapegrad.as_torch(lambda a: a * v)(torch.ones(3)).sum().backward()",
    ),
    case(
        "y = tapegrad.as_torch(lambda a: a * a)(p).sum(); "
        "g, = torch.autograd.grad(y, p, create_graph=True); g.sum().backward()",
        "y = tapegrad.as_torch(lambda a: a * a)(p).sum(); torch.autograd.grad(y, p)",
        "with tapegrad.recording(): y = (p * p).sum(); g, = tapegrad.grad(y, p, create_graph=True); g.sum().backward()",
    ),
    case(
        "u = v * 1; y = tapegrad.checkpoint(lambda a: a.exp(), u).sum(); u.data.add_(1); y.backward()",
        "u = v * 1; y = tapegrad.checkpoint(lambda a: a.exp(), u).sum(); y.backward(); u.data.add_(1)",
    ),
    case(
        "n = iter((1, 2)); y = tapegrad.checkpoint(lambda a: [a := a.exp() for _ in range(next(n))][-1], v).sum()\ny.backward()",
        "y = tapegrad.checkpoint(lambda a: a.exp().exp(), v).sum()\ny.backward()",
    ),
    case(
        "y = tapegrad.checkpoint(lambda a: a.exp(), v).sum(); tapegrad.compare(y)",
        "y = v.exp().sum(); tapegrad.compare(y)",
    ),
]

COMPILE = [
    case(
        "import types; h = types.SimpleNamespace(); vars(h)['u'] = leaf(torch.ones(3)); get = [h].__getitem__; f = tapegrad.compile(lambda a: (a * 1, get(0).u)); f(v)",
        "u = leaf(torch.ones(3)); f = tapegrad.compile(lambda a, u: (a * 1, u)); f(v, u)",
    ),
    case(
        "import warnings\nwith warnings.catch_warnings(action='error'): "
        "f = tapegrad.compile(lambda a: (h := a.exp(), h * 2)); f(v)",
        "f = tapegrad.compile(lambda a: ((h := a.exp()).detach(), h * 2)); f(v); f(v)[1].sum().backward()",
        "f = tapegrad.compile(lambda a: a.exp() * 2); f(v); f(v).sum().backward()",
    ),
    case(
        "f = tapegrad.compile(lambda a: a.mul_(2).sum()); f(v * 1)",
        "f = tapegrad.compile(lambda a: (a * 2).sum()); f(v * 1).backward()",
    ),
    case(
        "f = tapegrad.compile(lambda a: a * a.sum().item()); f(v)",
        "s = v.sum().item(); f = tapegrad.compile(lambda a, s: a * s); f(v, s).sum().backward()",
        "f = tapegrad.compile(lambda a: a * 1); (f(v) * v.sum().item()).sum().backward()",
    ),
    case(
        "f = tapegrad.compile(lambda a: a[a > 0]); f(v)",
        "f = tapegrad.compile(lambda a: torch.where(a > 0, a, 0.0)); f(v).sum().backward()",
        "f = tapegrad.compile(lambda a: a.masked_fill(a < 0, 0.0)); f(v).sum().backward()",
        "f = tapegrad.compile(lambda a: a * 1); f(v)[v > 0].sum().backward()",
    ),
    case(
        "tapegrad.compile(lambda a: {1, 2} and object())(v)",
        "tapegrad.compile(lambda a: [a * 1, (a, 2), {'k': a.data}])(v)",
    ),
    case(
        "f = tapegrad.compile(lambda a: (a * a).sum()); f(v); g, = tapegrad.grad(f(v), v, create_graph=True)",
        "f = tapegrad.compile(lambda a: (a * a).sum()); tapegrad.grad(f.function(v), v, create_graph=True)[0].sum().backward()",
    ),
    case(
        "f = tapegrad.compile(lambda a: (a * a).sum()); f(v); tapegrad.compare(f(v))",
        "f = tapegrad.compile(lambda a: (a * a).sum()); tapegrad.compare(f.function(v))",
    ),
    case(
        "f = tapegrad.compile(lambda a: (a * (h := a.exp()), h.register_hook(print))[0]); f(v)",
        "f = tapegrad.compile(lambda a: (a * (h := a.exp()), h)); y, h = f(v); h.register_hook(lambda g: None); y.sum().backward()",
    ),
    case(
        "kept = []; f = tapegrad.compile(lambda a: (kept.append(h := a.exp()), h * 2)[1]); f(v)",
        "f = tapegrad.compile(lambda a: (h := a.exp(), h * 2)); h, y = f(v); y.sum().backward()",
    ),
    case(
        "f = tapegrad.compile(lambda a: (a * tapegrad.tensor(torch.ones(3), requires_grad=True)).sum()); f(v)",
        "u = leaf(torch.ones(3)); f = tapegrad.compile(lambda a, u: (a * u).sum()); f(v, u).backward()",
    ),
    case(
        "u = torch.ones(3); f = tapegrad.compile(lambda a, u: (a * u).sum()); f(v, u); y = f(v, u); u += 1; y.backward()",
        "u = torch.ones(3); f = tapegrad.compile(lambda a, u: (a * u).sum()); f(v, u); y = f(v, u); u = u.clone(); u += 1; y.backward()",
        "u = torch.ones(3); f = tapegrad.compile(lambda a, u: (a * u).sum()); f(v, u); y = f(v, u); y.backward(); u += 1",
    ),
]

CASES = [*WALKS, *IN_PLACE, *CALLS, *REASONS, *RULES, *TOOLS, *COMPILE]

# Messages whose advice is run elsewhere, or cannot be here. The text begins so -> why.
ELSEWHERE = {
    "derive: what was read of the rules": "tests/provers/test_derivations.py: it takes a rule that is read wrongly",
    "source: a {} cannot be written": "tests/source/test_every_sample.py",
    "DistributedDataParallel(": "tests/nn/test_processes.py: it takes two processes",
    "exercise: ": "tests/teaching/test_exercise.py",
    "fully_shard:": "tests/nn/test_processes.py",
    "grad: this parameter, of shape": "tests/nn/test_processes.py",
    "tapegrad.viz needs the graphviz package": "tests/viz/test_render.py: it takes a Python without the package",
    "nothing here can lay out a graph": "tests/viz/test_render.py: likewise",
}
