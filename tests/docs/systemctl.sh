#!/usr/bin/env bash
# There is no systemd in a namespace: starts and stops what a unit's file says, with its environment, and nothing more.
set -euo pipefail
folder=/etc/systemd/system
verb=$1
shift
[ "${1:-}" != --now ] || shift
unit=${1%.service}
runs() { [ -e "/run/$unit.pid" ] && kill -0 "$(cat "/run/$unit.pid")" 2>/dev/null; }
stop() {
  ! runs || kill "$(cat "/run/$unit.pid")"
  while runs; do sleep 0.05; done
}
start() {
  local command
  command=$(sed -n 's/^ExecStart=//p' "$folder/$unit.service")
  # shellcheck disable=SC2086 # a unit's command line is words
  setsid $command </dev/null >>"/var/log/$unit.log" 2>&1 &
  echo $! >"/run/$unit.pid"
}
case "$verb" in
  enable | start) runs || start ;;
  stop | disable) stop ;;
  restart) stop && start ;;
  reload) kill -HUP "$(cat "/run/$unit.pid")" ;;
  daemon-reload) ;;
  *) echo "systemctl $verb is not known here" >&2 && exit 1 ;;
esac
