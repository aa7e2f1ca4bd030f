"""Network files (official pickles, TensorFlow-era pickles, native safetensors) and training states."""

from stylegan2ada.checkpoints.finite import not_finite
from stylegan2ada.checkpoints.network_files import load_network, save_network
from stylegan2ada.checkpoints.surgery import copy_matching, fold_to_grey

__all__ = ["copy_matching", "fold_to_grey", "load_network", "not_finite", "save_network"]
