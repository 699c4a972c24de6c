"""``python -m hauberk``, and so ``torchrun -m hauberk``."""

from hauberk.cli.main import main

main()
