"""How fast tapegrad is, next to others doing the same work: ``python -m benchmarks`` from the repository's root."""
