"""train_spine: the engine's training with a classifier in the loss, presets with reasons, and a judge."""
