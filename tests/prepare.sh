#!/usr/bin/env bash
# Installs the Debian packages that tests (or the demo, or benchmarks) talk to, when root; else says what will be left out.
set -euo pipefail
lab=(
  charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-extra-plugins
  libstrongswan-standard-plugins iproute2 iputils-ping
)
# OpenSCAP judges by 40 MB of rules (1.6 GB unpacked): they come in one package alone.
judges=(curl jq strongswan-pki openssl openssh-client libnss3-tools softhsm2 gcc chromium lynis openscap-scanner ssg-nondebian lego certbot)
database=(postgresql)
links=(nftables) # loses packets on the way between daemons
journal=(systemd) # its journald, for one daemon at a time
alarms=(prometheus-alertmanager prometheus) # a receiver of alerts; and a judge of metrics, rules and dashboards
devices=(certmonger scep) # clients of SCEP: one that is taken, and one that knows only what is refused
paper=(libpango-1.0-0 libpangoft2-1.0-0 fonts-dejavu-core fonts-noto-cjk poppler-utils) # sets reports as PDF; and reads them
packaging=(zsh fish mandoc man-db python3-venv systemd strace shellcheck) # completion, man pages and units where they are used
images=(buildah mmdebstrap runc) # builds images and runs them, without a daemon
peers=(fail2ban wrk) # for its fail2ban-regex; and the load on both sides
case "${1:-test}" in
  demo) wanted=("${lab[@]}") ;;
  images) wanted=("${images[@]}") ;;
  bench) wanted=("${database[@]}" "${peers[@]}" softhsm2) ;;
  *) wanted=("${lab[@]}" "${judges[@]}" "${database[@]}" "${links[@]}" "${journal[@]}" "${alarms[@]}" "${devices[@]}" "${paper[@]}" "${packaging[@]}") ;;
esac
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && [ "${1:-test}" = test ]; then
  # Libreswan conflicts with strongSwan, so it is unpacked beside it.
  bash "$(dirname "$0")/lab/unpack.sh"
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  # Services of these packages are not wanted: the tests start their own.
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.ikewarden && chmod +x /usr/sbin/policy-rc.d.ikewarden
  [ -e /usr/sbin/policy-rc.d ] || { ln -s policy-rc.d.ikewarden /usr/sbin/policy-rc.d; linked=1; }
  status=0
  { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || status=$?
  [ -z "${linked:-}" ] || rm -f /usr/sbin/policy-rc.d
  rm -f /usr/sbin/policy-rc.d.ikewarden
  [ "$status" -eq 0 ] || { tail -n 20 "$log"; echo "apt-get failed" >&2; exit 1; }
  rm -f "$log"
  # Nor is certbot to renew anything, nor fail2ban to ban anyone, after the next start of this machine.
  case " ${missing[*]} " in *" certbot "*) systemctl --quiet disable certbot.timer 2>/dev/null || true ;; esac
  case " ${missing[*]} " in *" fail2ban "*) systemctl --quiet disable fail2ban 2>/dev/null || true ;; esac
  case " ${missing[*]} " in *" certmonger "*) systemctl --quiet disable certmonger 2>/dev/null || true ;; esac
  exit 0
fi
echo "Not installed: ${missing[*]}"
if [ "${1:-test}" = bench ]; then
  echo "Left out for want of them or of root: fail2ban-regex beside ours, what is measured on PostgreSQL, what needs wrk."
  exit 0
fi
echo "Left out for want of them or of root: tunnels between real daemons, PostgreSQL, second opinions on certificates."
echo "Run as root, or install them, to run everything."
[ "${CI:-}" != true ] || { echo "In CI nothing may be left out." >&2; exit 1; }
