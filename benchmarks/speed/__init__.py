"""Speed and memory, one script to a claim: ``python -m benchmarks.speed.NAME`` from the root."""
