"""What several test modules use, one file for each idea; no test module imports another."""
