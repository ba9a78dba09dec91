"""torch's vocabulary, said in terms of the rules."""
