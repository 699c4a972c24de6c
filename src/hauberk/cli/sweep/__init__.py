"""``hauberk sweep``: many compressions, one table."""
