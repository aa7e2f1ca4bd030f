"""The paper's Figure 1: epsilon against the standard deviation of the noise, as numbers and as a picture.

The classic series is that of tensorflow-privacy with which it was drawn; the release's script plots
ln(epsilon) on an axis that is labelled epsilon, for 2.4 million steps where the text says 4.2 million.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from spine_plugins.privacy import renyi
from spine_plugins.privacy.accountant import account
from stylegan2ada.errors import MissingError

IMAGES = 3773  # the training set of the paper
CLIP = 1.5
STEPS = {"text": 4_200_000, "release": 2_400_000}  # batch 1, so one step per image
DEVIATIONS = (0.03, 0.06, *(i / 10 for i in range(1, 21)))
CHOSEN = 0.2  # of the paper's private run
COLUMNS = (
    "noise_std", "noise_multiplier", "tfp_text", "tfp_release", "ln_tfp_text", "ln_tfp_release",
    "rdp_text", "rdp_release", "pld_text", "pld_release",
)  # fmt: skip

Row = dict[str, float | None]


def classic_epsilon(n: int, batch: float, steps: int, noise_multiplier: float, delta: float) -> float:
    """What tensorflow-privacy's classic function says: RDP at its few orders, the smallest of them 1.25."""
    total = steps * renyi.curve(batch / n, noise_multiplier, renyi.CLASSIC_ORDERS)
    return renyi.epsilon(total, renyi.CLASSIC_ORDERS, delta)[0]


def row(noise_std: float) -> Row:
    """One line of the table; None where a bound could not be found."""
    noise_multiplier = noise_std / CLIP
    found: Row = {"noise_std": noise_std, "noise_multiplier": noise_multiplier}
    for name, steps in STEPS.items():
        classic = classic_epsilon(IMAGES, 1, steps, noise_multiplier, 1 / IMAGES)
        bounds = account(IMAGES, 1, steps, noise_multiplier, 1 / IMAGES)
        found |= {
            f"tfp_{name}": classic,
            f"ln_tfp_{name}": math.log(classic),
            f"rdp_{name}": bounds["epsilon_rdp"],
            f"pld_{name}": bounds["epsilon_pld"],
        }
    return {name: found[name] for name in COLUMNS}


def write_csv(rows: list[Row], path: Path) -> None:
    """The table; an empty cell where there is no bound."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(rows: list[Row], path: Path) -> None:
    """The paper's picture: points over the noise, the chosen one marked; above it what is plotted really."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            "the picture needs matplotlib; install it with: pip install 'spinegan[report]'"
        ) from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    x = [entry["noise_std"] for entry in rows]
    for name, marker in (("release", "o"), ("text", "+")):
        y = [entry[f"ln_tfp_{name}"] for entry in rows]
        axes.scatter(x, y, marker=marker, label=f"{STEPS[name] / 1e6:.1f} million steps ({name})")  # type: ignore[arg-type]
    chosen = next(entry for entry in rows if entry["noise_std"] == CHOSEN)
    at = (CHOSEN, float(chosen["ln_tfp_release"] or 0))
    axes.scatter(*at, s=160, facecolors="none", edgecolors="tab:red", label=f"chosen: {CHOSEN:g}")
    axes.annotate(f"ε = {chosen['tfp_release']:,.0f}", at, xytext=(12, 6), textcoords="offset points")
    axes.set_xlabel("Standard deviation of the noise, clip norm 1.5")
    axes.set_ylabel("ln ε (the paper's axis says: Epsilon)")
    axes.set_title("guarantee: none")
    axes.legend()
    figure.savefig(path, dpi=150)
