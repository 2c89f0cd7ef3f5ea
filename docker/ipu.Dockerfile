# The IPU program on Graphcore's Poplar SDK, and beside it a Python 3.11 for the flow and its worker.
#
#     docker build --file docker/ipu.Dockerfile --tag podsquad-ipu .
#
# The base is Graphcore's: Ubuntu 20.04, Python 3.8, torch 2.0.1, poptorch of SDK 3.3. Prefect needs a newer Python, so the
# flow has an interpreter of its own and starts the program in the base's. Containers reach IPUs with --device and the
# host's IPUoF configuration: Graphcore's gc-docker passes on both.
#
# No engine built this image and no IPU ran it: docs/ipu.md says what of it was run where.
FROM graphcore/pytorch:3.3.0

RUN groupadd --gid 10001 podsquad && useradd --uid 10001 --gid podsquad --create-home podsquad

WORKDIR /app

# The program's packages, beside the SDK's torch and poptorch, which stay as they are. PODSQUAD_RUNTIME__PYTHON names the path.
COPY constraints-ipu.txt ./
RUN python3 -m pip install --no-cache-dir --requirement constraints-ipu.txt \
    && python3 -c "import poptorch, optimum.graphcore" \
    && test "$(command -v python3)" = /usr/bin/python3

# Ubuntu 20.04 has no Python 3.11: uv brings one that runs on any glibc.
ENV UV_PYTHON_INSTALL_DIR=/opt/python
RUN python3 -m pip install --no-cache-dir uv && python3 -m uv venv --python 3.11 --seed /opt/flow
ENV PATH=/opt/flow/bin:${PATH}

# As in flow.Dockerfile.
COPY pyproject.toml constraints.txt ./
RUN /opt/flow/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && /opt/flow/bin/pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt setuptools

COPY README.md LICENSE ./
COPY podsquad podsquad
COPY tasks tasks
COPY flows flows
COPY deployments deployments
RUN /opt/flow/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && /opt/flow/bin/python -m compileall -q podsquad tasks flows deployments

RUN install --directory --owner podsquad --group podsquad .podsquad

ENV PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    HF_HOME=/app/.podsquad/huggingface \
    PODSQUAD_PROFILE=pod16 \
    PODSQUAD_RUNTIME__PYTHON=/usr/bin/python3

USER podsquad
CMD ["python", "-m", "deployments.worker"]
