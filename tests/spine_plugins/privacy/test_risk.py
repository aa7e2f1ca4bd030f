"""Attack rates: pins, another library, and the closed form of the Gaussian."""

from __future__ import annotations

import pytest
from scipy.stats import norm

from spine_plugins.privacy import accountant
from spine_plugins.privacy.accountant import Query
from spine_plugins.privacy.risk import in_words, risk, risk_of_queries

needs_library = pytest.mark.skipif(not accountant.has_library(), reason="dp-accounting is not installed")


@needs_library
@pytest.mark.parametrize(
    ("noise", "one_percent", "one_in_a_thousand", "advantage"),
    [
        (11.377, 0.0198, 0.0024, 0.106),
        (4.310, 0.0536, 0.0088, 0.278),
        (1.684, 0.353, 0.129, 0.666),
    ],  # eps 1, 3, 10
)
def test_pins(noise: float, one_percent: float, one_in_a_thousand: float, advantage: float) -> None:
    found = risk(3773, 256, 2000, noise)
    assert found["method"] == "pld"
    assert found["tpr_at_fpr_1e-2"] == pytest.approx(one_percent, abs=5e-4)
    assert found["tpr_at_fpr_1e-3"] == pytest.approx(one_in_a_thousand, abs=5e-4)
    assert found["advantage"] == pytest.approx(advantage, abs=5e-4)
    assert f"{found['advantage']:.3f}" in in_words(found)


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(20000, 128, 500, 0.8)])
def test_another_library_agrees(numbers) -> None:
    riskcal = pytest.importorskip("riskcal")
    n, batch, steps, noise = numbers
    found = risk(*numbers)
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    whole = from_gaussian_mechanism(noise, sampling_prob=batch / n).self_compose(steps)
    for rate, name in ((1e-2, "tpr_at_fpr_1e-2"), (1e-3, "tpr_at_fpr_1e-3")):
        missed = float(riskcal.analysis.get_beta_from_pld(whole, alpha=rate))
        assert found[name] == pytest.approx(1 - missed, abs=1e-3)
    assert found["advantage"] == pytest.approx(riskcal.analysis.get_advantage_from_pld(whole), abs=1e-3)


@pytest.mark.parametrize("with_library", [True, False])
def test_the_gaussian_in_closed_form(with_library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best test against N(0,1) or N(mu,1) is a threshold; bounds from RDP lie above it."""
    if with_library and not accountant.has_library():
        pytest.skip("dp-accounting is not installed")
    monkeypatch.setattr(accountant, "has_library", lambda: with_library)
    mu = 0.5
    found = risk_of_queries([Query(1, 4, 4)])
    exact = {f"tpr_at_fpr_1e-{k}": norm.cdf(norm.ppf(10.0**-k) + mu) for k in (2, 3)}
    exact["advantage"] = 2 * norm.cdf(mu / 2) - 1
    for name, value in exact.items():
        if with_library:
            assert found[name] == pytest.approx(value, abs=1e-3)
        else:
            assert found["method"] == "rdp" and value <= found[name] <= 1


def test_nothing_released_means_nothing_learnt() -> None:
    found = risk_of_queries([])
    assert found["tpr_at_fpr_1e-2"] == pytest.approx(0.01) and found["advantage"] == 0
