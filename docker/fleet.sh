#!/bin/sh
# Two gateways and a tunnel on record, an enrollment line for each, and a token by which Prometheus reads /metrics; once.
set -eu
umask 077
unset IKEWARDEN_KEYS__PASSPHRASE_FILE
for number in 1 2; do
  line=/enrollment/gw$number/line
  [ -e "$line" ] || ikewarden gateway add "gw$number.example.com" --daemon strongswan --out "$line"
done
[ -e /watching/tunnel ] || {
  # The tunnel's certificates are mixed with a key that is in OpenBao and rotated (RFC 8784).
  ikewarden tunnel add site gw1.example.com gw2.example.com --managed --start --ppk preferred \
    --left-address 172.31.79.11 --left-network 10.1.0.0/24 --right-address 172.31.79.12 --right-network 10.2.0.0/24
  touch /watching/tunnel
}
[ -e /watching/token ] || ikewarden token create prometheus --role auditor --out /watching/token
# Each volume is for one container: an agent, which is root without the right to read what is not its own, or Prometheus.
chmod 0444 /enrollment/gw1/line /enrollment/gw2/line
chmod 0755 /enrollment/gw1 /enrollment/gw2
cp /var/lib/ikewarden/instance/root-ca.pem /watching/root-ca.pem
chmod 0444 /watching/root-ca.pem /watching/token
chmod 0755 /watching
