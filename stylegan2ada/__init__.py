"""SpineGAN's engine: a clean-room StyleGAN2-ADA with upstream's commands, files and numbers."""

__version__ = "0.1.0"
