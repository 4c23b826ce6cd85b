#!/bin/sh
# Initialises OpenBao and lets the service in: KV version 2 at secret/, AppRole, the policy beside this file; once.
# The recovery key and the first token are in /openbao/file, a volume that nothing else has: keep them elsewhere, then remove them.
set -eu
umask 077
keys=/openbao/file/init.json
[ -e /openbao/file/done ] && exit 0
[ -s "$keys" ] || { bao operator init -recovery-shares=1 -recovery-threshold=1 -format=json > "$keys.new" && mv "$keys.new" "$keys"; }
until bao status > /dev/null 2>&1; do sleep 1; done
token=$(sed -n 's/.*"root_token": *"\([^"]*\)".*/\1/p' "$keys")
printf '%s' "$token" | bao login -no-print -
bao secrets list -format=json | grep -q '"secret/"' || bao secrets enable -path=secret -version=2 kv
bao auth list -format=json | grep -q '"approle/"' || bao auth enable approle
bao policy write ikewarden /etc/openbao/policy.hcl
bao write auth/approle/role/ikewarden token_policies=ikewarden token_ttl=1h token_max_ttl=24h
bao write auth/approle/role/ikewarden/role-id role_id=ikewarden
bao write auth/approle/role/ikewarden/custom-secret-id secret_id=@/run/secrets/openbao-secret-id > /dev/null
rm -f "$HOME/.vault-token"
touch /openbao/file/done
