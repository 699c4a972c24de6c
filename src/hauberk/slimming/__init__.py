"""Structured shrinking: the removal of dead filters and channels from a network."""
