"""Quality in numbers: pure formulas (features in, number out), detectors, and the registry of public names."""
