"""The published figures, one script to a claim: ``python -m benchmarks.NAME`` from the root."""
