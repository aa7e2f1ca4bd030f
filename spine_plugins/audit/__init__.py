"""The audit: whether synthetic images are copies of patients, and whether that could have been seen.

Everything is imported from its own file; importing this package loads no torch.
"""
