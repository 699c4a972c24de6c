"""``python -m hauberk``, and so ``torchrun -m hauberk``."""

from hauberk.cli import main

main()
