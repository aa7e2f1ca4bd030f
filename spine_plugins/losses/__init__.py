"""Losses and generator terms that radiographs add to the engine."""
