"""Settings of a Vault or OpenBao server become the store that talks to it."""

from collections.abc import Mapping

from hsm.vaultlogin import AppRoleLogin, CertLogin, KubernetesLogin, Login, TokenLogin
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from ikewarden.settings_secrets import SecretsSettings


def open_vault(chosen: SecretsSettings, environ: Mapping[str, str]) -> VaultSecretStore:
    """The store; `chosen.store` is "vault", so that all that it needs is set."""
    with_certificate = chosen.auth == "cert"
    address = Address(
        url=chosen.url or "",
        namespace=chosen.namespace,
        ca_file=chosen.ca_file,
        certificate=chosen.certificate_file if with_certificate else None,
        key=chosen.key_file if with_certificate else None,
        timeout=chosen.timeout_seconds,
    )
    return VaultSecretStore(address, _login(chosen, environ), mount=chosen.mount)


def _login(chosen: SecretsSettings, environ: Mapping[str, str]) -> Login:
    mount = chosen.auth_mount or chosen.auth
    if chosen.auth == "approle" and chosen.role_id and chosen.secret_id_file:
        return AppRoleLogin(chosen.role_id, chosen.secret_id_file, mount)
    if chosen.auth == "kubernetes" and chosen.role:
        return KubernetesLogin(chosen.role, chosen.jwt_file, mount)
    if chosen.auth == "cert" and chosen.key_file:
        return CertLogin(chosen.key_file, chosen.role or "", mount)
    return TokenLogin(chosen.token_file, chosen.token_env, environ)
