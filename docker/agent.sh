#!/bin/sh
# Enrolls the gateway at the first start, and becomes its agent.
set -eu
umask 077
if ! [ -e "$IKEWARDEN_AGENT_HOME/agent.toml" ]; then
  ikewarden agent enroll --daemon strongswan --set strongswan.socket=/run/charon/charon.vici \
    --set strongswan.make_before_break=yes --set watch.error_notify=/run/charon/charon.enfy < /enrollment/line
fi
exec ikewarden agent run --log-format json
