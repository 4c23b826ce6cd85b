# What ikewarden needs for [secrets] mount = "secret" and path = "ikewarden/{tunnel}/{kind}", and nothing more.
#   ikewarden vault policy --only secrets > ikewarden.hcl
#   bao policy write ikewarden ikewarden.hcl          (Vault: vault policy write ...)
# Then give the role that ikewarden logs in by: token_policies=ikewarden

path "secret/data/ikewarden/+/psk" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/ikewarden/+/psk" {
  capabilities = ["read", "delete"]
}

path "secret/delete/ikewarden/+/psk" {
  capabilities = ["update"]
}

path "secret/undelete/ikewarden/+/psk" {
  capabilities = ["update"]
}

path "secret/destroy/ikewarden/+/psk" {
  capabilities = ["update"]
}

path "secret/data/ikewarden/+/ppk" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/ikewarden/+/ppk" {
  capabilities = ["read", "delete"]
}

path "secret/delete/ikewarden/+/ppk" {
  capabilities = ["update"]
}

path "secret/undelete/ikewarden/+/ppk" {
  capabilities = ["update"]
}

path "secret/destroy/ikewarden/+/ppk" {
  capabilities = ["update"]
}

path "secret/data/ikewarden/fingerprint-key" {
  capabilities = ["create", "read", "update"]
}
