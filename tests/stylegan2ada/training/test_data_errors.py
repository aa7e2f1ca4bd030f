"""A picture that cannot be decoded while a run trains is a fault of the data, not of the disk."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.data import cache
from stylegan2ada.data.decode import DatasetError
from stylegan2ada.training.loop import train
from tests.stylegan2ada.training.toy import toy_config, toy_dataset, toy_run_dir


@pytest.mark.parametrize("is_cached", [True, False])
def test_damaged_pictures_are_named(tmp_path, monkeypatch, is_cached):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    if not is_cached:  # a disk that has no room for the cache: pictures are decoded as they are needed
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Full", (), {"free": 0}))
    folder = toy_dataset(tmp_path / "data", resolution=16)
    config = toy_config(folder)
    (folder / "00000" / "img00000011.png").write_bytes(b"rubbish")
    run_dir = toy_run_dir(tmp_path / "run", config)
    with pytest.raises(DatasetError, match="^00000/img00000011.png in .* cannot be decoded"):
        train(config, run_dir, device=torch.device("cpu"))
