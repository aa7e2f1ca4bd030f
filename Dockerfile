# Written with care, but not built by our tests: they run where no Docker engine is.
# docker build -t spinegan . && docker run --gpus all --ipc=host -v "$PWD":/data spinegan train_spine.py --help
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04

ENV DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv make git \
    && rm -rf /var/lib/apt/lists/*

RUN python3 -m venv /opt/spinegan
ENV PATH=/opt/spinegan/bin:$PATH

WORKDIR /app
# Dependencies first, so that a change to the code does not install torch again.
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY stylegan2ada/__init__.py stylegan2ada/
COPY spine_plugins/__init__.py spine_plugins/
RUN pip install -c constraints.txt ".[dicom,classifier,report,video]" && pip uninstall -y spinegan
COPY . .
RUN pip install --no-deps -e .

# A training run writes as an ordinary user; mount its folder.
RUN useradd --create-home spine && mkdir /data && chown spine /data
USER spine
WORKDIR /data
ENV PYTHONPATH=/app DNNLIB_CACHE_DIR=/data/.cache
ENTRYPOINT ["/bin/sh", "-c", "cd /data && script=$0; exec python /app/$script \"$@\""]
CMD ["train_spine.py", "--help"]
