# The flow, its worker and Prefect's server, without a runtime: what plans, registers and watches, but does not train.
#
#     docker build --file docker/flow.Dockerfile --tag podsquad-flow .
#
# The context is the checkout, less what .dockerignore leaves out.
ARG PYTHON_VERSION=3.11
FROM python:${PYTHON_VERSION}-slim-bookworm

# Nothing here needs root. The number is fixed, because files in volumes belong to numbers.
RUN groupadd --gid 10001 podsquad && useradd --uid 10001 --gid podsquad --create-home podsquad

WORKDIR /app

# Packages first: they change more seldom than the code. setuptools is what builds podsquad below.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements.txt setuptools

COPY README.md LICENSE ./
COPY podsquad podsquad
COPY tasks tasks
COPY flows flows
COPY deployments deployments
# Editable: the deployments' paths and the command mean the same folder, /app.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m compileall -q podsquad tasks flows deployments

# A volume that is mounted here for the first time takes its owner from it.
RUN install --directory --owner podsquad --group podsquad .podsquad

# What was downloaded from the Hub stays in the volume.
ENV PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    HF_HOME=/app/.podsquad/huggingface

USER podsquad
# No ENTRYPOINT: a Docker work pool starts its runs with commands of its own.
CMD ["python", "-m", "deployments.worker"]
