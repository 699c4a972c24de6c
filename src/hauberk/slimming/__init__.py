"""Structured shrinking: dead filters and channels leave the network."""
