"""The command ``hauberk``."""
