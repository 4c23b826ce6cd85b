# A gateway to try things out with: strongSwan of Debian, and nothing of ours. In the clone: docker build -f docker/gateway.Dockerfile -t ikewarden-gateway .
ARG BASE=debian:12.15-slim

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends charon-systemd strongswan-swanctl libstrongswan-standard-plugins \
    libstrongswan-extra-plugins libcharon-extra-plugins iproute2 iputils-ping \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 0700 /run/charon
COPY docker/gateway/strongswan.conf /etc/strongswan.conf
COPY --chmod=0755 docker/gateway/start /usr/local/bin/start-gateway
LABEL org.opencontainers.image.title="ikewarden-gateway" \
      org.opencontainers.image.description="strongSwan, as a gateway to try ikewarden with" \
      org.opencontainers.image.licenses="GPL-2.0-or-later"
# hadolint ignore=DL3002 # charon makes the kernel's SAs: root, with CAP_NET_ADMIN alone
USER 0:0
EXPOSE 500/udp 4500/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["swanctl", "--stats", "--uri", "unix:///run/charon/charon.vici"]
ENTRYPOINT ["/usr/local/bin/start-gateway"]
