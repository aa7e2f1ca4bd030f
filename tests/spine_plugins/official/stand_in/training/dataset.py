"""The reader of data sets; ours is a drop-in for it."""

from stylegan2ada.data.dataset import ImageFolderDataset  # noqa: F401
