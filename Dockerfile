# The image of migxai. docs/containers.md says how to build and run it.
#
#   docker build -t migxai .                                         PyTorch for CPUs
#   docker build -t migxai --build-arg TORCH_BACKEND=cu130 .         PyTorch for NVIDIA GPUs
#   docker build -t migxai --build-arg TORCH_PIP_ARGS="..." .        PyTorch by plain pip, with these arguments
#
# A digest in place of the tag pins the base: --build-arg BASE_IMAGE=debian@sha256:...
ARG BASE_IMAGE=debian:bookworm-slim

# ---- build: whatever is needed to install, none of which is in the image -----------------------------------------------
FROM ${BASE_IMAGE} AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 UV_NO_CACHE=1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/tools \
    && python3 -m venv --without-pip /opt/migxai

# The libraries, by a lock with hashes. Nothing is resolved here, so nothing can bring a PyTorch of its own choice. Their
# own tests (217 MB) stay behind.
COPY .container/requirements.lock /tmp/requirements.lock
RUN /opt/tools/bin/pip --python /opt/migxai/bin/python install --quiet --no-compile --no-deps --require-hashes \
        --requirement /tmp/requirements.lock \
    && find /opt/migxai/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/migxai/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/migxai/lib

# PyTorch, with what only it needs, goes to a folder of its own, for a layer of its own: what is new since the stamp.
# uv knows where PyTorch's builds for CPUs are; without TORCH_PIP_ARGS it installs one. (compileall may fail: a few files
# of PyTorch are for a later Python, and are not imported by this one.)
ARG TORCH_SPEC="torch==2.14.1 torchvision==0.29.1"
ARG TORCH_BACKEND=cpu
ARG TORCH_PIP_ARGS=""
RUN touch /tmp/stamp && sleep 1 \
    && if [ -n "$TORCH_PIP_ARGS" ]; then \
         /opt/tools/bin/pip --python /opt/migxai/bin/python install --quiet --no-compile $TORCH_PIP_ARGS $TORCH_SPEC; \
       else \
         /opt/tools/bin/pip install --quiet uv && /opt/tools/bin/uv pip install --quiet --link-mode copy \
           --python /opt/migxai/bin/python --torch-backend "$TORCH_BACKEND" $TORCH_SPEC; \
       fi \
    && /opt/tools/bin/pip --python /opt/migxai/bin/python check \
    && mkdir /layer && cd / && find opt/migxai -newercm /tmp/stamp ! -type d -print0 \
       | tar --create --null --files-from=- --remove-files | tar --extract --directory /layer \
    && find opt/migxai -type d -empty -delete \
    && rm -r /layer/opt/migxai/lib/python3.11/site-packages/torch/include \
    && { /opt/migxai/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash -s /layer -p / /layer || true; }

# ImageNet weights of the three networks, for a build with an open network (--build-arg IMAGENET_WEIGHTS=yes); each is
# checked by the hash in its name. NOT YET TRIED: the machines that migxai is developed on reach no store of weights.
ARG IMAGENET_WEIGHTS=no
COPY .container/weights.py /tmp/weights.py
RUN mkdir -p /opt/weights && if [ "$IMAGENET_WEIGHTS" = yes ]; then \
      PYTHONPATH=/layer/opt/migxai/lib/python3.11/site-packages /opt/migxai/bin/python /tmp/weights.py /opt/weights; \
    fi

COPY . /src
RUN /opt/tools/bin/pip wheel --quiet --no-deps --wheel-dir /tmp/wheel /src && touch /tmp/stamp2 && sleep 1 \
    && /opt/tools/bin/pip --python /opt/migxai/bin/python install --quiet --no-compile --no-deps --no-index /tmp/wheel/*.whl \
    && mkdir /own && cd / && find opt/migxai -newercm /tmp/stamp2 ! -type d -print0 \
       | tar --create --null --files-from=- --remove-files | tar --extract --directory /own \
    && /opt/migxai/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /own -p / /own \
    && mkdir -p /own/usr/local/bin && ln -s /opt/migxai/bin/migxai /opt/migxai/bin/migxai-demo /own/usr/local/bin/

# ---- the image -------------------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/* \
    && mkdir -p /bids /out /work /opt/templateflow && chmod 1777 /out /work
COPY --from=build /layer /
COPY --from=build /opt/migxai /opt/migxai
COPY --from=build /opt/weights /opt/weights
COPY --from=build /own /

# Any user may run this, with or without an entry in passwd, a home or a /tmp: what can't be written where it is sent to
# here goes into the work directory. Weights and TemplateFlow are only read.
ENV PATH=/opt/migxai/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 \
    HOME=/tmp USER=migxai LOGNAME=migxai XDG_CACHE_HOME=/tmp/.cache XDG_CONFIG_HOME=/tmp/.config \
    MPLCONFIGDIR=/tmp/matplotlib MPLBACKEND=Agg NUMBA_CACHE_DIR=/tmp/numba \
    TEMPLATEFLOW_HOME=/opt/templateflow TORCH_HOME=/opt/weights/torch HF_HOME=/opt/weights/huggingface HF_HUB_OFFLINE=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
    NO_ET=1 NIPYPE_NO_ET=1 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1

# A broken image is no image: all that is loaded late is loaded once here.
RUN migxai --version && python -c "import torch, torchvision, timm, deepbet.bet, pytorch_grad_cam, nilearn, bids"

ARG VERSION=0.2.0.dev0
ENV MIGXAI_IMAGE=migxai:${VERSION}
LABEL org.opencontainers.image.title="migxai" \
      org.opencontainers.image.description="BIDS-App: resting-state fMRI to interpretable, audited classification of migraine" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
HEALTHCHECK --interval=5m --timeout=30s CMD ["migxai", "--version"]
WORKDIR /work
ENTRYPOINT ["migxai"]
