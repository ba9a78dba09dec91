"""An option that torch refuses is refused also after others of its kind were accepted."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.helpers import ours, randn


@pytest.mark.parametrize(
    ("function", "good", "bad"),
    [
        (lambda x, eps: F.batch_norm(x, None, None, training=True, eps=eps), 1e-5, -1.0),
        (lambda x, p: F.dropout(x, p), 0.5, 1.5),
        (lambda x, p: F.dropout(x, p), 0.5, -0.5),
        (lambda x, s: F.cross_entropy(x, torch.tensor([0, 1]), label_smoothing=s), 0.1, 1.1),
    ],
)
def test_after_a_good_value_a_bad_one_is_refused(function, good, bad):
    x = ours(randn(2, 3))
    function(x, good)
    with pytest.raises((ValueError, RuntimeError)):
        function(x, bad)
