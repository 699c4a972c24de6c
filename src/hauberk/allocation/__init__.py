"""Allocation: how many bits each layer gets under one budget in bytes of the file."""
