"""The tests, and the checker of annotations that runs under them.

pyproject.toml names the packages whose functions and dataclasses are checked while tests run: those
of pure mathematics. jaxtyping imports nothing below this package, so the checker stands here.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""Tensor shapes as jaxtyping says; an int may stand wherever a float may, as for mypy."""
