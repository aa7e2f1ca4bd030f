"""A plain loss: logistic, with R1; for the comparison with ours at weight 0."""

import torch
from torch.nn.functional import softplus
from torch_utils import training_stats


class StyleGAN2Loss:
    def __init__(self, device, G_mapping, G_synthesis, D, augment_pipe=None, r1_gamma=10, **_):
        self.G_mapping, self.G_synthesis, self.D, self.r1_gamma = G_mapping, G_synthesis, D, r1_gamma

    def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
        if phase == "Gmain":
            fooled = softplus(-self.D(self.G_synthesis(self.G_mapping(gen_z, gen_c)), gen_c))
            training_stats.report("Loss/G/loss", fooled).mean().mul(gain).backward()
        if phase == "Dmain":
            with torch.no_grad():
                fake = self.G_synthesis(self.G_mapping(gen_z, gen_c))
            softplus(self.D(fake, gen_c)).mean().mul(gain).backward()
        if phase in ("Dmain", "Dreg"):
            real_img = real_img.detach().requires_grad_(phase == "Dreg")
            logits = self.D(real_img, real_c)
            training_stats.report("Loss/signs/real", logits.sign())
            total = softplus(-logits).mean() if phase == "Dmain" else (logits * 0).mean()
            if phase == "Dreg":
                (slope,) = torch.autograd.grad(logits.sum(), real_img, create_graph=True)
                total = total + (slope.square().sum([1, 2, 3]) * (self.r1_gamma / 2)).mean()
            total.mul(gain).backward()
