"""Differential privacy: what training gives away of its images: bounded, counted, enforced, audited."""
