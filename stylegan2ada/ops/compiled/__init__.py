"""Our kernels: one source for CPU and CUDA behind a plain C interface, reached by `impl='compiled'`.

`library` calls them through ctypes, `registered` makes them operations that torch knows (also without data,
and under vmap), `functions` are their derivatives. `stylegan2ada.ops.build` makes the library.
"""
