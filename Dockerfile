# Plimsoll's own image: the gateway, the operator, downloads of weights, and the embedded engine.
# Build it with `docker build -t plimsoll .`; `deploy/` and `plimsoll render --image` name it.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
# The path of a request is compiled (docs/decisions/0011), which needs a C compiler here only.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && python -m venv /opt/plimsoll
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=true /opt/plimsoll/bin/pip install --no-cache-dir '.[kube,local,s3,plan]'

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="plimsoll" \
      org.opencontainers.image.description="Self-hosted LLM inference on Kubernetes from one file" \
      org.opencontainers.image.licenses="Apache-2.0"
# libgomp1: llama.cpp's threads. No shell is needed to run, but one is there for `kubectl exec`.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/plimsoll /opt/plimsoll
# Everything that is written goes to /tmp or a mounted volume: the root is read-only in a cluster.
ENV PATH=/opt/plimsoll/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["plimsoll"]
CMD ["--help"]
