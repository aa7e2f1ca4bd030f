"""The training loop and its schedules: phases, moving average, adaptive augmentation, image grids."""
