"""A tape written out as PyTorch source."""
