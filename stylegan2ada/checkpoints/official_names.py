"""The table of upstream's names, with what its storages are to torch; the rest must do without torch."""

from __future__ import annotations

import torch

from stylegan2ada.official_names import *  # noqa: F403 - one table, in two files only because of torch

STORAGE_DTYPES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
}
