"""Hauberk: small neural networks that keep their accuracy and their adversarial robustness.

    min_w  E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  w ∈ C_1 ∩ C_2 ∩ …

>>> import hauberk as hb
>>> net = hb.models.build("digits-cnn")
>>> small = hb.compress(net, "digits", method=hb.ATMC(keep=0.02, bits=4), threat=hb.Linf(0.1))

The names are listed in ``__init__.pyi`` and imported on first use, so ``import hauberk`` is quick.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
