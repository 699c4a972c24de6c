"""Plots: every picture that hauberk draws."""
