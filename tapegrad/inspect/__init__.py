"""What looks at a tape: names, the tape as a table, replays of it, and checks of its gradients."""
