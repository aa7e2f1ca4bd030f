"""Fixtures that several rooms share, and the order of the run: the test of used goldens comes last."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from stylegan2ada import ops

# A runner in the background ignores Ctrl-C, and processes inherit that; tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Results shall not depend on what happens to be built here; SPINEGAN_OPS=compiled runs the tests on kernels.
if os.environ.setdefault("SPINEGAN_OPS", "plain") == "compiled":
    ops.set_default("compiled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "test_all_golden_used" in item.nodeid)  # stable: all else keeps its order


@pytest.fixture(autouse=True)
def _same_torch_after_each_test():
    """A test may change torch's seed, type and threads, or our operations; the next one shall not notice."""
    state, dtype, threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    impl = ops.pick_impl("auto")
    yield
    ops.set_default(impl)
    torch.set_rng_state(state)
    torch.set_default_dtype(dtype)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
