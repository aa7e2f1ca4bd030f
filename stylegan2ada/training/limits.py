"""Beyond which numbers a run is warned of or stopped; plain constants, so that pages can draw them."""

# Above this strength, augmented-only looks start to appear in the fakes (Karras et al. 2020, fig. 4).
LEAK_P = 0.8
# Fakes that differ from one another by less than this share of what real images do are nearly one picture.
COLLAPSE_SHARE = 0.15
# A logit of a working discriminator stays below 1e3.
ABSURD_SCORE = 1e6
