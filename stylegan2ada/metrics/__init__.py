"""Quality in numbers: pure formulas (features in, number out), detectors, the registry of public names."""
