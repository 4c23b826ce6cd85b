storage "raft" {
  path    = "/openbao/file"
  node_id = "openbao"
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  tls_cert_file   = "/run/secrets/openbao-certificate"
  tls_key_file    = "/run/secrets/openbao-key"
  tls_min_version = "tls13"
}

# A trial unseals itself by a key in a file. For more, see OpenBao's own words about seals.
seal "static" {
  current_key_id = "1"
  current_key    = "file:///run/secrets/openbao-unseal-key"
}

api_addr     = "https://openbao:8200"
cluster_addr = "https://127.0.0.1:8201"
