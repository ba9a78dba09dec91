"""Optional: ``apply`` and ``walk`` written out as source, for what runs again and again. The engine needs none of it.

``TAPEGRAD_FAST=0`` in the environment leaves it out.
"""

from tapegrad.fast.install import install

__all__ = ["install"]
