"""Plots of results, files, data and training logs, written as PNG."""
