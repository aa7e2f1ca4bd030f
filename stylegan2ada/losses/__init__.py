"""Losses: an adversarial objective, regularisers, and generator terms; chosen by name, open to plugins."""
