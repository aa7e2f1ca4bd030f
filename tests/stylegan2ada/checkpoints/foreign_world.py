"""A stand-in for an official checkout, written into a folder, and the program that a user runs there.

It does what the format's loader is specified to do, no more: version and type are checked, the embedded text
is executed in a fresh module, instances are made without their constructor, decorated classes pickle as
records.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from stylegan2ada import errors, ops

DNNLIB = """
class EasyDict(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)

    def __setattr__(self, name, value):
        self[name] = value
"""

PERSISTENCE = """
import copy
import sys
import types

import dnnlib

texts = {}  # name of a made module -> its text


def persistent_class(original):
    class Persistent(original):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._init_args, self._init_kwargs = copy.deepcopy((args, kwargs))

        init_args = property(lambda self: copy.deepcopy(self._init_args))
        init_kwargs = property(lambda self: dnnlib.EasyDict(copy.deepcopy(self._init_kwargs)))

        def __reduce__(self):
            meta = {
                "type": "class", "version": 6, "module_src": texts[original.__module__],
                "class_name": original.__name__, "state": dict(self.__dict__),
            }
            return _reconstruct_persistent_obj, (meta,)

    Persistent.__name__ = original.__name__
    return Persistent


def _reconstruct_persistent_obj(meta):
    assert meta["version"] == 6 and meta["type"] == "class"
    name = next((name for name, text in texts.items() if text == meta["module_src"]), None)
    if name is None:
        name = f"_made_from_a_pickle_{len(texts)}"
        texts[name] = meta["module_src"]
        sys.modules[name] = module = types.ModuleType(name)
        exec(meta["module_src"], module.__dict__)
    made = getattr(sys.modules[name], meta["class_name"])
    instance = made.__new__(made)
    if hasattr(instance, "__setstate__"):
        instance.__setstate__(meta["state"])
    else:
        instance.__dict__.update(meta["state"])
    return instance
"""

# What a user there does with a network file: load, generate, judge, copy, rebuild, resume, save again.
PROGRAM = """
import copy
import pickle
import sys

source, arrays, resaved, our_package, is_real = sys.argv[1:]
if our_package == "absent":
    sys.modules["stylegan2ada"] = None
else:
    import stylegan2ada.networks.stylegan2

import numpy as np
import torch

torch.set_num_threads(1)
with open(source, "rb") as file:
    if is_real == "real":
        import legacy

        data = legacy.load_network_pkl(file)
    else:
        data = pickle.load(file)
G, D, G_ema, pipe = (data[key] for key in ("G", "D", "G_ema", "augment_pipe"))
for module in (G, D, G_ema):
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert not type(module).__module__.startswith("stylegan2ada")

with np.load(arrays) as file:
    z, c, images = (torch.tensor(file[key]) for key in ("z", "c", "images"))
out = {}


def run(G, D, tag):
    options = {"noise_mode": "const", "force_fp32": True}
    out[tag + "G"] = G(z, c, truncation_psi=0.7, truncation_cutoff=2, **options)
    ws = G.mapping(z, c, truncation_psi=0.5)
    assert ws.shape[1] == G.num_ws == G.mapping.num_ws == G.synthesis.num_ws
    out[tag + "ws"] = ws
    out[tag + "synthesis"] = G.synthesis(ws, **options)
    out[tag + "D"] = D(images, c)


with torch.no_grad():
    run(G_ema, D, "loaded/")
    out["pipe"] = pipe(images, debug_percentile=0.4)
    for attribute in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "num_ws"):
        out[attribute] = torch.tensor(getattr(G, attribute))
    out["w_avg"] = G.mapping.w_avg
    buffers = [name for name, _ in G.synthesis.named_buffers()]
    out["noise_buffers"] = torch.tensor(sum(name.endswith("noise_const") for name in buffers))
    run(copy.deepcopy(G_ema), copy.deepcopy(D), "copied/")

    # Resume: new networks from the recorded arguments, tensors copied by name.
    def rebuilt(old, **changes):
        new = type(old)(*old.init_args, **{**old.init_kwargs, **changes}).eval().requires_grad_(False)
        theirs = {**dict(old.named_parameters()), **dict(old.named_buffers())}
        for name, tensor in [*new.named_parameters(), *new.named_buffers()]:
            tensor.copy_(theirs[name])
        return new

    new_G, new_D = rebuilt(G_ema), rebuilt(D)
    run(new_G, new_D, "rebuilt/")
    synthesis = {**G_ema.init_kwargs["synthesis_kwargs"], "num_fp16_res": 4}
    assert rebuilt(G_ema, synthesis_kwargs=synthesis).synthesis.b8.use_fp16

# One training step's worth of gradients.
new_G.train().requires_grad_(True)
D(new_G(z, c), c).sum().backward()
assert all(p.grad is not None for p in new_G.parameters())
new_G.eval().requires_grad_(False)
for p in new_G.parameters():
    p.grad = None

data["G"] = new_G
with open(resaved, "wb") as file:
    pickle.dump(data, file)
with open(resaved, "rb") as file:
    again = pickle.load(file)
with torch.no_grad():
    run(again["G_ema"], again["D"], "again/")
np.savez(arrays + ".out.npz", **{key: value.numpy() for key, value in out.items()})
"""


# There are no kernels of ours there, nor the epilogue that networks ask for.
_OURS_ALONE = ("build", "choice", "compiling")
_NO_KERNELS = {
    "__init__": "",
    "functions": "",
    "library": "def knows(x):\n    return False\n",
    "registered": "def wide(dtype):\n    return dtype\n",
}


def write_stand_in(folder: Path) -> None:
    """dnnlib, torch_utils.persistence and torch_utils.ops; the ops are ours in their plain form, renamed."""
    (folder / "dnnlib").mkdir()
    (folder / "dnnlib" / "util.py").write_text(DNNLIB)
    (folder / "dnnlib" / "__init__.py").write_text("from dnnlib.util import EasyDict\n")
    inner = folder / "torch_utils" / "ops"
    inner.mkdir(parents=True)
    (folder / "torch_utils" / "__init__.py").write_text("")
    (folder / "torch_utils" / "persistence.py").write_text(PERSISTENCE)
    (folder / "torch_utils" / "errors.py").write_text(inspect.getsource(errors))
    for path in Path(inspect.getfile(ops)).parent.glob("*.py"):
        if path.stem in _OURS_ALONE:
            continue
        text = path.read_text().replace("stylegan2ada", "torch_utils")
        (inner / path.name).write_text(text.replace('_auto = "fast"', '_auto = "ref"'))
    with (inner / "bias_act.py").open("a") as file:
        file.write("\n\ndel epilogue, has_epilogue\n")
    (inner / "compiled").mkdir()
    for name, text in _NO_KERNELS.items():
        (inner / "compiled" / f"{name}.py").write_text(text)
