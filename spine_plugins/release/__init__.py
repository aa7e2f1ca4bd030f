"""The release: a synthetic data set with the card that a data-protection board asks for."""
