# The service: API, listener for CRLs and OCSP, scheduler. In the clone: docker build -f docker/service.Dockerfile -t ikewarden .
ARG BASE=debian:12.15-slim

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Everything in the versions of constraints.txt; what stands there is all that is fetched. PIP_CONSTRAINT holds for what wheels are made with, too.
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m pip wheel --wheel-dir /wheels '.[server,postgres,hsm,pdf,traces]' \
 && python3 -m venv /opt/ikewarden \
 && /opt/ikewarden/bin/python -m pip install --no-index --find-links /wheels 'ikewarden[server,postgres,hsm,pdf,traces]' \
 && /opt/ikewarden/bin/python -m compileall -q /opt/ikewarden/lib \
 && /opt/ikewarden/bin/python -m pip uninstall --yes pip setuptools

FROM ${BASE}
# Pango and fonts are for reports as PDF: those in Chinese need the second one. Without PDF neither is needed.
ARG FOR_PDF="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core fonts-noto-cjk"
# shellcheck disable=SC2086 # several packages
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 ${FOR_PDF} \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 ikewarden \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/ikewarden --shell /usr/sbin/nologin ikewarden \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/ikewarden
COPY --from=build /opt/ikewarden /opt/ikewarden
ENV PATH=/opt/ikewarden/bin:/usr/bin:/bin IKEWARDEN_DIR=/var/lib/ikewarden/instance PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="ikewarden" \
      org.opencontainers.image.description="PKI and key lifecycle service for IPsec fleets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
USER 10001:10001
WORKDIR /var/lib/ikewarden
EXPOSE 8443 8080
# All parts; where they run in containers of their own, ask each for its own: health --only api
HEALTHCHECK --interval=30s --timeout=25s --start-period=60s --retries=3 CMD ["ikewarden", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ikewarden"]
CMD ["serve"]
