"""The machine: devices, processes, memory, files, signals, installed packages."""
