"""What theory says the class term does to the density: draws docs/images/spine-loss.png.

    python benchmarks/spine_theory.py

Left: share q/p that is left of each real image, over S(c|x). Right: mass of the hardest fifth over gamma.
Positives of a calibrated binormal classifier with AUC 0.856; see docs/spine-loss.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from spine_plugins.experiments.theory import binormal_positives, hardest_mass, tilted_density

AUC = 0.856
MARKED = {0.01: "0.01", 0.1: "0.1 (authors)", 0.16: "0.16 (paper, batch 16)", 0.8: "0.8 (paper's 0.05)"}


def main(out: Path = ROOT / "docs" / "images" / "spine-loss.png") -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    p, s = binormal_positives(AUC)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    edge = s[np.searchsorted(np.cumsum(p), 0.2)]
    left.axvspan(0, edge, color="0.93", label="hardest fifth")
    left.axhline(1, color="0.6", linewidth=1)
    for gamma, name in MARKED.items():
        left.plot(s, tilted_density(p, s, gamma) / p, label=f"$\\gamma$ = {name}")
    left.set(
        xlabel="S(c|x), what the classifier gives the wanted class", ylabel="q(x|c) / p(x|c)", xlim=(0, 1)
    )
    left.legend(frameon=False, fontsize=8)

    gammas = np.geomspace(0.003, 1.5, 60)
    right.axhline(20, color="0.6", linewidth=1)
    right.plot(gammas, [100 * hardest_mass(tilted_density(p, s, g), p) for g in gammas], color="black")
    for gamma in MARKED:
        mass = 100 * hardest_mass(tilted_density(p, s, gamma), p)
        right.plot(gamma, mass, "o")
        right.annotate(f"{mass:.2f} %", (gamma, mass), textcoords="offset points", xytext=(6, 5), fontsize=8)
        print(f"gamma {gamma:g}: {mass:.2f} % of the mass on the hardest fifth")
    right.set(xscale="log", ylim=(0, 22), xlabel="effective $\\gamma$", ylabel="mass on the hardest fifth, %")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
