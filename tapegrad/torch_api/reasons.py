"""Torch's functions that have no rule, and why: each is refused by name, with what to do instead."""

from __future__ import annotations

_NO_DERIVATIVE = "torch has no derivative of it either; .detach() the arguments"
_QUANTIZED = "quantized numbers take no gradient; .detach() the arguments"
_SPARSE = "the rules are for dense tensors; keep the tensor dense, or .detach() it"
_LOW_LEVEL = "it is a step within one of torch's functions"

# What to say -> the names of functions, those of torch.linalg, torch.fft and torch.special with their namespace.
_FUNCTIONS = {
    _NO_DERIVATIVE: """
        binomial dequantize __floordiv__ __rfloordiv__ __ifloordiv__ floor_divide geqrf heaviside igamma igammac
        special_gammainc special_gammaincc
        linalg_ldl_factor linalg_ldl_factor_ex linalg_ldl_solve slice_inverse unique unique_consecutive
        choose_qparams_optimized""",
    "there is no rule for the copy; use torch.view_as_complex or torch.view_as_real, and .clone()": """
        view_as_complex_copy view_as_real_copy""",
    _QUANTIZED: """
        int_repr q_scale q_zero_point q_per_channel_axis q_per_channel_scales q_per_channel_zero_points qscheme
        quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm quantized_gru
        quantized_gru_cell quantized_lstm quantized_lstm_cell quantized_max_pool1d quantized_max_pool2d
        quantized_max_pool3d quantized_rnn_relu_cell quantized_rnn_tanh_cell fake_quantize_per_channel_affine
        fake_quantize_per_tensor_affine fused_moving_avg_obs_fake_quant fbgemm_linear_fp16_weight
        fbgemm_linear_fp16_weight_fp32_activation fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation
        fbgemm_linear_quantize_weight fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix""",
    _SPARSE: """
        to_sparse to_sparse_coo to_sparse_csr to_sparse_csc to_sparse_bsr to_sparse_bsc to_dense to_mkldnn
        to_padded_tensor sparse_mask sparse_resize_ sparse_resize_and_clear_ coalesce indices values crow_indices
        col_indices ccol_indices row_indices indices_copy values_copy crow_indices_copy col_indices_copy
        ccol_indices_copy row_indices_copy hsmm hspmm smm sspaddmm saddmm""",
    "the rules are for dense tensors; use torch.mm or torch.addmm of sparse.to_dense()": "_sparse_mm _sparse_addmm",
    "the rules are for dense tensors; write torch.addmm(input.to_dense(), mat1, mat2) * mask, with a dense mask": """
        sparse_sampled_addmm""",
    "the rules are for dense tensors; use torch.sum, torch.softmax or torch.log_softmax of a dense one": """
        _sparse_sum _sparse_softmax _sparse_log_softmax""",
    f"{_LOW_LEVEL}; use F.batch_norm": """
        batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
        batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats
        cudnn_batch_norm miopen_batch_norm""",
    f"{_LOW_LEVEL}; use the one of that name in torch.nn.functional": """
        binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss kl_div margin_ranking_loss
        poisson_nll_loss triplet_margin_loss""",
    f"{_LOW_LEVEL}; use x[indices]": "index",
    "use x.to(device), whose gradient comes back to where x is": "ipu mtia xpu",
    "torch refuses it, too: a tensor keeps its size; use torch.cat of the other parts": "__delitem__",
    "its mean and rstd require grad in torch, which then loses their gradients; use F.group_norm, and compute the "
    "statistics from the input": "native_group_norm",
    f"{_LOW_LEVEL}; use F.dropout": "native_dropout",
    "torch keeps it for old programs; use torch.linalg.matrix_norm": "nuclear_norm frobenius_norm",
    f"{_LOW_LEVEL}; use torch.linalg.vector_norm": "native_norm",
    f"{_LOW_LEVEL}; use F.channel_shuffle": "native_channel_shuffle",
    f"{_LOW_LEVEL}; use F.conv1d, F.conv2d, F.conv3d or their transposes": """
        conv_tbc cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu cudnn_convolution_transpose
        miopen_convolution miopen_convolution_add_relu miopen_convolution_relu miopen_convolution_transpose
        miopen_depthwise_convolution mkldnn_convolution mkldnn_linear_backward_weights""",
    f"{_LOW_LEVEL}; use F.max_pool2d, F.max_pool3d or F.adaptive_avg_pool2d": """
        mkldnn_adaptive_avg_pool2d mkldnn_max_pool2d mkldnn_max_pool3d""",
    f"{_LOW_LEVEL}; use F.affine_grid": "cudnn_affine_grid_generator",
    f"{_LOW_LEVEL}; use F.grid_sample": "cudnn_grid_sampler",
    f"{_LOW_LEVEL}; use F.ctc_loss": "miopen_ctc_loss",
    f"{_LOW_LEVEL}; use torch.nn.RNN, torch.nn.GRU or torch.nn.LSTM": "miopen_rnn mkldnn_rnn_layer",
    "there is no rule for a randomized algorithm; use torch.linalg.svd or torch.linalg.eigh": "lobpcg",
    "torch's own gradient of it does not agree with finite differences; use torch.slice_scatter or "
    "torch.diagonal_scatter": "as_strided_scatter",
    "torch's own gradient of it ends in an error; use torch.linalg.vander(x).flip(-1)": "vander",
    "there is no rule for it; use x[..., start:end].clone()": "slice_copy",
    "there is no rule for a tensor that changes its size; use x.reshape(...) or torch.cat": """
        resize resize_as resize_ resize_as_ resize_as_sparse_""",
    "there is no rule for it; use torch.linalg.matmul for each group": """
        _grouped_mm _scaled_grouped_mm _scaled_mm grouped_mm scaled_grouped_mm scaled_mm""",
    "it takes torch's own tensors only; give it x.data, whose gradient nobody computes": """
        as_subclass module_load pin_memory record_stream map2_ sym_sum set_ share_memory_""",
    "torch gives its ends no gradient; write start + (end - start) * torch.linspace(0, 1, steps), or give "
    "start.item() and end.item()": "linspace",
    "torch gives its ends no gradient; write base ** (start + (end - start) * torch.linspace(0, 1, steps)), or give "
    "start.item() and end.item()": "logspace",
    "the number gets no gradient, in torch neither; use number.expand(size), or number.item() for a constant": """
        full scalar_tensor""",
    "torch gives its bounds no gradient; give start.item() and end.item()": "arange range",
    "torch has taken it out": "eig lstsq reinforce solve symeig _symeig matrix_rank",
}
_BY_NAME = {name: reason for reason, names in _FUNCTIONS.items() for name in names.split()}


def reason_for(name: str) -> str | None:
    """Why a torch function is refused, and what to do instead; None if nothing particular is known of it."""
    return _BY_NAME.get(name)
