# SpineGAN on a CPU. Written with care and read by a test, but not built by us: no Docker engine was at hand.
#   docker build -t spinegan .
#   docker run --rm -v "$PWD":/data spinegan demo --out demo
# For GPUs put the CUDA build of torch in its place (--build-arg TORCH_INDEX_URL=...) and run with --gpus all.
FROM python:3.12-slim

ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1

# A user of its own; what it writes into /data belongs to --user if you give one.
RUN useradd --create-home spine && mkdir /data /app && chown spine /data

WORKDIR /app
# Torch first, so that a change to the code does not install it again.
COPY constraints.txt ./
RUN pip install --index-url "$TORCH_INDEX_URL" "$(grep -E '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY stylegan2ada stylegan2ada
COPY spine_plugins spine_plugins
RUN pip install -c constraints.txt ".[dicom,classifier,report,video]"

USER spine
WORKDIR /data
ENV DNNLIB_CACHE_DIR=/data/.cache
ENTRYPOINT ["spinegan"]
CMD ["--help"]
