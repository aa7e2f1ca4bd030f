"""The class term: its gradient, its sign, its reduction, and that without weight nothing happens at all."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch.nn import functional

from spine_plugins.losses.spine import SpineGANLoss, SpineTerm, class_loss, is_as_wanted
from stylegan2ada import stats
from stylegan2ada.config import LossFacts, loss_options
from stylegan2ada.errors import UserError
from stylegan2ada.losses.registry import find_loss, find_term
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.losses.terms import weighted_sum
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.ops.watching import Watch

GAMMA = 0.37


@pytest.fixture(autouse=True)
def _fresh_statistics() -> None:
    stats.reset()


def one_hot(*classes: int, n: int = 2) -> torch.Tensor:
    return functional.one_hot(torch.tensor(classes), n).double()


# ---------------------------------------------------------------- formula


def test_gradient_at_the_logit_is_sigma_minus_c_times_gamma() -> None:
    s = torch.randn(8, 1, dtype=torch.float64).mul(3).requires_grad_(True)
    c = one_hot(0, 1, 1, 0, 1, 0, 0, 1)
    (GAMMA * class_loss(s, c, "binary").sum()).backward()
    torch.testing.assert_close(
        s.grad[:, 0], (s.detach()[:, 0].sigmoid() - c[:, 1]) * GAMMA, rtol=1e-6, atol=1e-9
    )


def test_the_printed_formula_has_the_wrong_sign_for_positives() -> None:
    """c log S - (1 - c) log(1 - S), minimised as printed, pushes every fake towards "normal"."""
    s = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    for c in (0.0, 1.0):
        printed = c * functional.logsigmoid(s) - (1 - c) * functional.logsigmoid(-s)
        (slope,) = torch.autograd.grad(printed.sum(), s)
        assert (slope > 0).all()  # descending lowers the logit, whatever the wanted class
        wanted = one_hot(*[int(c)] * 7)
        (ours,) = torch.autograd.grad(class_loss(s[:, None], wanted, "binary").sum(), s)
        assert ((ours < 0) if c else (ours > 0)).all()


def test_more_classes_and_several_findings_are_cross_entropies() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    c = one_hot(0, 3, 2, 1, 3, n=4)
    by_hand = -(logits.log_softmax(1) * c).sum(1)
    torch.testing.assert_close(class_loss(logits, c, "multiclass"), by_hand)
    findings = (torch.rand(5, 4) > 0.5).double()
    p = logits.sigmoid()
    by_hand = -(findings * p.log() + (1 - findings) * (1 - p).log()).sum(1)
    torch.testing.assert_close(class_loss(logits, findings, "multilabel"), by_hand)


def test_accuracy_counts_what_was_asked_for() -> None:
    binary = torch.tensor([[2.0], [-1.0], [0.5]])
    assert is_as_wanted(binary, one_hot(1, 1, 0), "binary").tolist() == [1, 0, 0]
    several = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    assert is_as_wanted(several, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), "multilabel").tolist() == [1, 0]


# ---------------------------------------------------------------- reduction, warm-up


@pytest.mark.parametrize("split", [1, 2, 4, 8])
def test_the_sum_does_not_depend_on_how_the_batch_is_split(split: int, grey_judge) -> None:
    term = SpineTerm(GAMMA, classifier=grey_judge())
    img, c = torch.randn(8, 1, 4, 4, dtype=torch.float64, requires_grad=True), one_hot(0, 1, 1, 0, 1, 0, 0, 1)
    for x, y in zip(img.chunk(split), c.chunk(split)):
        for value in weighted_sum([term], x, y, x):
            value.backward()
    (expected,) = torch.autograd.grad(GAMMA * class_loss(grey_judge()(img), c, "binary").sum(), img)
    torch.testing.assert_close(img.grad, expected)


def test_gamma_warms_up_linearly_and_stays(grey_judge) -> None:
    class Run:
        cur_nimg = 0

    run = Run()
    term = SpineTerm(0.5, classifier=grey_judge(), warmup_kimg=2)
    term.start(run)
    seen = []
    for run.cur_nimg in (0, 500, 1000, 2000, 9000):
        seen.append(term.weight)
    assert seen == [0, 0.125, 0.25, 0.5, 0.5]


def test_authors_settings(grey_judge) -> None:
    G, D = small_networks()
    loss = SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier=grey_judge(), spine_compat="authors")
    (term,) = loss.terms
    assert (term.weight, term.reduction, term.mapping) == (0.1, "mean", "authors")
    with pytest.raises(UserError, match="only choice is authors"):
        SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier=grey_judge(), spine_compat="others")


# ---------------------------------------------------------------- in the loss


def test_it_takes_every_option_of_the_loss_that_it_extends(grey_judge) -> None:
    """Same names, kinds, defaults: what --loss-opt may set, and what a plain call means."""
    own, parents = (inspect.signature(kind).parameters for kind in (SpineGANLoss, StyleGAN2Loss))
    shared = {name: (own[name].kind, own[name].default) for name in own if name in parents}
    assert shared == {name: (p.kind, p.default) for name, p in parents.items()}
    positional = [name for name in own if own[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional == [name for name in parents if name in positional]
    G, D = small_networks()
    options = {"gp_weight": 5, "drift_weight": 0.5, "weight_clip": 0.25, "pl_decay": 0.5, "r1_gamma": 3}
    loss = SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier=grey_judge(), **options)
    assert {name: getattr(loss, name) for name in options} == options
    given = [(name, str(value)) for name, value in options.items()]  # as --loss-opt gives them
    assert loss_options(given, LossFacts(SpineGANLoss)) == options


def small_networks() -> tuple[Generator, Discriminator]:
    torch.manual_seed(1)
    widths = {"channel_base": 64, "channel_max": 8}
    G = Generator(z_dim=4, c_dim=2, w_dim=4, img_resolution=8, img_channels=1, synthesis_kwargs=widths)
    return G, Discriminator(c_dim=2, img_resolution=8, img_channels=1, **widths)


def gradients(loss_class: type, **options) -> dict[str, torch.Tensor]:
    G, D = small_networks()
    loss = loss_class("cpu", G.mapping, G.synthesis, D, None, **options)
    torch.manual_seed(7)
    z, real = torch.randn(4, 4), torch.randn(4, 1, 8, 8)
    c = one_hot(0, 1, 1, 0).float()
    for phase in ("Gmain", "Greg"):
        G.requires_grad_(True)
        D.requires_grad_(False)
        loss.accumulate_gradients(phase, real, c, z, c, True, 1)
    return {name: parameter.grad for name, parameter in G.named_parameters()}


def test_weight_zero_is_stylegan2_to_the_bit(grey_judge) -> None:
    plain = gradients(StyleGAN2Loss)
    spine = gradients(SpineGANLoss, classifier=grey_judge(), cls_weight=0)
    warming = gradients(SpineGANLoss, classifier=grey_judge(), cls_weight=1, cls_warmup=100)
    for name, gradient in plain.items():
        assert torch.equal(gradient, spine[name]), name
        assert torch.equal(gradient, warming[name]), name


def test_with_weight_the_fakes_move_and_the_classifier_does_not(grey_judge) -> None:
    judge = grey_judge()
    before = copy.deepcopy(judge.state_dict())
    spine = gradients(SpineGANLoss, classifier=judge, cls_weight=5)
    plain = gradients(StyleGAN2Loss)
    assert any(not torch.equal(spine[name], plain[name]) for name in plain)
    assert torch.equal(judge.scale, before["scale"])
    assert judge.scale.grad is None
    assert not judge.training


def test_it_works_beside_another_objective(grey_judge) -> None:
    G, D = small_networks()
    loss = SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier=grey_judge(), objective="ns")
    assert loss.objective.name == "ns"
    assert [term.name for term in loss.terms] == ["cls"]


def test_a_run_goes_on_with_its_own_classifier_only(grey_judge) -> None:
    G, D = small_networks()

    def loss_with(sha: str) -> SpineGANLoss:
        judge = grey_judge()
        judge.card["sha256"] = sha
        return SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier=judge)

    state = loss_with("a" * 64).state_dict()
    loss_with("a" * 64).load_state_dict(state)
    with pytest.raises(UserError, match="classifier has changed.*aaaa.*bbbb"):
        loss_with("b" * 64).load_state_dict(state)


def test_statistics_are_reported(grey_judge) -> None:
    collector = stats.Collector()
    gradients(SpineGANLoss, classifier=grey_judge(), cls_weight=1)
    collector.update()
    assert collector.num("Loss/G/cls") == 4
    assert 0 <= collector.mean("Loss/G/cls_accuracy") <= 1


def test_the_names_lead_here() -> None:
    assert find_loss("spine") is SpineGANLoss
    assert find_term("spine") is SpineTerm
    with pytest.raises(UserError, match="--classifier=FILE"):
        SpineTerm()


def test_a_step_with_the_class_term_may_be_recorded(grey_judge) -> None:
    """Nothing of it reaches the host, and gamma is among what a recording is bound to."""
    G, D = small_networks()
    loss = SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier=grey_judge(), cls_weight=2, cls_warmup=1)
    assert loss.why_not_recorded() is None

    class Run:
        cur_nimg = 0

    run = Run()
    loss.start(run)
    before = loss.facts()
    run.cur_nimg = 500
    assert set(loss.facts()) - set(before) == {1.0}  # half of gamma
    c = one_hot(0, 1, 1, 0).float()
    with Watch(torch.device("cpu")) as watch:
        loss.accumulate_gradients("Gmain", torch.randn(4, 1, 8, 8), c, torch.randn(4, 4), c, True, 1)
    assert watch.findings == []
