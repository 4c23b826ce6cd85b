#!/bin/sh
# Makes the secrets of compose.yaml, each readable by the one user in a container that needs it; what is there stays.
# As root, because only root gives files away. Needs openssl.
set -eu
umask 077
cd "$(dirname "$0")"
[ "$(id -u)" -eq 0 ] || { echo "prepare.sh gives files to users of containers: run it as root." >&2; exit 1; }
mkdir -p secrets
cd secrets
# Who reads what: the numbers are those of the images.
ikewarden=10001 postgres=999 openbao=100 grafana=472

give() { # NAME UID
  chown "$2" "$1"
  chmod 0400 "$1"
}
made() { # NAME COMMAND…: what the command prints, once
  name=$1
  shift
  [ -s "$name" ] || { "$@" > "$name.new" && mv "$name.new" "$name"; }
}
word() { openssl rand -base64 33 | tr -d '\n'; }

made passphrase word
give passphrase $ikewarden
made database-password.postgres word
made database-password.ikewarden cat database-password.postgres
give database-password.postgres $postgres
give database-password.ikewarden $ikewarden
made openbao-unseal-key openssl rand 32
give openbao-unseal-key $openbao
made openbao-secret-id.openbao word
made openbao-secret-id.ikewarden cat openbao-secret-id.openbao
give openbao-secret-id.openbao $openbao
give openbao-secret-id.ikewarden $ikewarden
made grafana-password word
give grafana-password $grafana
if ! [ -s openbao-key ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 825 -subj /CN=openbao \
    -addext subjectAltName=DNS:openbao -keyout openbao-key.new -out openbao-certificate.openbao 2>/dev/null
  cp openbao-certificate.openbao openbao-certificate.ikewarden
  mv openbao-key.new openbao-key
fi
give openbao-key $openbao
give openbao-certificate.openbao $openbao
give openbao-certificate.ikewarden $ikewarden
echo "The secrets are in $(pwd)."
