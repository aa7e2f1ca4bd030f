"""Differential privacy: what training gives away of its images: bounded, counted, enforced, audited.

>>> found = sp.privacy.renyi.epsilon(1000 * sp.privacy.renyi.curve(0.01, 1.0), sp.privacy.renyi.ORDERS, 1e-5)
>>> round(found[0], 2)  # 1,000 steps that look at 1 % each, noise as large as the clip norm
2.1
>>> total, norms = sp.privacy.clipping.clipped_sum(
...     lambda w, x: (w["w"] * x).sum(), {"w": torch.zeros(2)}, torch.tensor([[3.0, 4], [0, 0.5]]), clip=1
... )
>>> total[0], norms
(tensor([0.6000, 1.3000]), tensor([5.0000, 0.5000]))
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from spine_plugins.privacy import accountant, audit, clipping, ledger, noise, renyi, report, risk

__all__ = ["accountant", "audit", "clipping", "ledger", "noise", "renyi", "report", "risk"]

if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(__name__, dict.fromkeys(__all__, ""))
