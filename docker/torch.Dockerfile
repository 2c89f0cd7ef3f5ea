# The flow's image and the torch runtime, in one: a worker of it trains on the CPU or on CUDA.
#
#     docker build --file docker/torch.Dockerfile --tag podsquad-torch .
#
# The base is podsquad-flow, so Debian and Python. CUDA's libraries come with torch's wheel; the host gives the driver,
# through NVIDIA's container toolkit. On a host without a GPU the CPU's wheel is several gigabytes smaller:
#
#     --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
FROM podsquad-flow

USER root
# torch.compile calls a compiler while it runs: of C for CUDA, of C++ for the CPU.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

ARG PIP_EXTRA_INDEX_URL
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['torch'], sep='\n')" > requirements-torch.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement requirements-torch.txt

USER podsquad
