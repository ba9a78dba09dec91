"""torch.nn and torch.optim as they are: torch's leaves as leaves of ours, and ours as torch's."""
