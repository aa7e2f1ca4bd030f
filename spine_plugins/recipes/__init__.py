"""Other GANs of the field, one per file, on one skeleton; each with a gate that it must pass."""
