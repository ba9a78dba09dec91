"""Functions whose results take no gradient, in torch neither: they run on the torch tensor and return what torch does.

``python -m tests.provers.plain`` asks torch, for each of them, whether its result would require grad.
"""

from __future__ import annotations

PLAIN = frozenset(
    """
    eq ne lt le gt ge not_equal less less_equal greater greater_equal equal allclose isclose isin
    isnan isinf isfinite isposinf isneginf isreal signbit is_nonzero logical_and logical_or logical_not logical_xor
    any all argmax argmin argsort argwhere nonzero nonzero_static count_nonzero searchsorted bucketize
    histc histogram histogramdd bincount linalg_matrix_rank hash_tensor unravel_index
    one_hot multinomial
    is_floating_point is_complex is_conj is_neg is_signed is_inference is_tensor is_same_size is_set_to is_shared
    is_pinned is_distributed is_coalesced is_storage result_type can_cast promote_types
    numel nelement size dim ndimension dense_dim sparse_dim stride storage_offset dim_order is_contiguous element_size
    data_ptr const_data_ptr storage untyped_storage storage_type get_device typename cudnn_is_acceptable
    long int short char byte bool gcd lcm
    bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift bitwise_right_shift
    __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __lshift__ __rshift__ __rlshift__ __rrshift__ __invert__
    special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0 special_modified_bessel_k1
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_spherical_bessel_j0
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w special_hermite_polynomial_h
    special_hermite_polynomial_he special_laguerre_polynomial_l special_legendre_polynomial_p
    """.split()
)

# The same, but that what they make is a Tensor: it may be changed in place by one that requires grad.
MADE = frozenset(
    """
    zeros_like ones_like empty_like full_like rand_like randn_like randint_like
    new new_zeros new_ones new_empty new_empty_strided new_full new_tensor
    """.split()
)

# Of these, what comes from there on is a number, fills the result, or is added up in it: its gradient would be lost.
VALUES_FROM = {
    "full_like": 1, "new": 1, "new_full": 2, "new_tensor": 1, "isclose": 2, "allclose": 2, "bincount": 1,
    "histogram": 1, "histogramdd": 1,
}  # fmt: skip
INSTEAD = {
    "bincount": "torch.zeros(n).index_add(0, input, weights)",
    "histogram": "torch.zeros(bins).index_add(0, torch.bucketize(input, edges), weight)",
}
