"""The loop of a run: matching, checkpoints, resume."""
