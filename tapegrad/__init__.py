"""tapegrad: a tape-based tensor autograd engine."""
