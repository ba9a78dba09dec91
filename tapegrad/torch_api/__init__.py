"""torch's vocabulary, spoken by Tensors."""
