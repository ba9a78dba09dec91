"""Tapes that come again, run as one planned program: ``tapegrad.compile``."""
