"""Training: the loop that runs stages, and what it needs."""
