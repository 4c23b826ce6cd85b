# The agent of a gateway: the base install alone. In the clone: docker build -f docker/agent.Dockerfile -t ikewarden-agent .
ARG BASE=debian:12.15-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m pip wheel --wheel-dir /wheels . \
 && python3 -m venv /opt/ikewarden \
 && /opt/ikewarden/bin/python -m pip install --no-index --find-links /wheels ikewarden \
 && /opt/ikewarden/bin/python -m compileall -q /opt/ikewarden/lib \
 && /opt/ikewarden/bin/python -m pip uninstall --yes pip setuptools

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10002 ikewarden-agent \
 && useradd --uid 10002 --gid 10002 --no-create-home --home-dir /var/lib/ikewarden-agent --shell /usr/sbin/nologin ikewarden-agent \
 && install -d -m 0700 -o 10002 -g 10002 /var/lib/ikewarden-agent
COPY --from=build /opt/ikewarden /opt/ikewarden
ENV PATH=/opt/ikewarden/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="ikewarden-agent" \
      org.opencontainers.image.description="Feeds the IKE daemon of a gateway with keys and certificates" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
# Enough for `--render`, which writes files. Beside charon it is root without any capability: the VICI socket is root's.
USER 10002:10002
WORKDIR /var/lib/ikewarden-agent
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["ikewarden", "agent", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ikewarden"]
CMD ["agent", "run", "--log-format", "json"]
