"""Settings of a Vault or OpenBao server become the stores that talk to it."""

from collections.abc import Mapping

from hsm.transitstore import TransitKeyStore
from hsm.vaultlogin import AppRoleLogin, CertLogin, KubernetesLogin, Login, TokenLogin
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from ikewarden.settings_secrets import SecretsSettings
from ikewarden.settings_vault import TransitSettings, VaultServer


def open_vault(chosen: SecretsSettings, environ: Mapping[str, str]) -> VaultSecretStore:
    """The store of secrets; `chosen.store` is "vault", so that all that it needs is set."""
    return VaultSecretStore(_address(chosen), _login(chosen, environ), mount=chosen.mount)


def open_transit(
    chosen: TransitSettings, shared: VaultServer, environ: Mapping[str, str]
) -> TransitKeyStore:
    """The key store; on the server of [secrets], `shared`, if it names none of its own. All that is needed is set."""
    server = chosen if chosen.is_own_server else shared
    return TransitKeyStore(
        _address(server),
        _login(server, environ),
        mount=chosen.mount,
        server="[keys.transit]" if chosen.is_own_server else "[secrets]",
    )


def _address(chosen: VaultServer) -> Address:
    with_certificate = chosen.auth == "cert"
    return Address(
        url=chosen.url or "",
        namespace=chosen.namespace,
        ca_file=chosen.ca_file,
        certificate=chosen.certificate_file if with_certificate else None,
        key=chosen.key_file if with_certificate else None,
        timeout=chosen.timeout_seconds,
    )


def _login(chosen: VaultServer, environ: Mapping[str, str]) -> Login:
    mount = chosen.auth_mount or chosen.auth
    if chosen.auth == "approle" and chosen.role_id and chosen.secret_id_file:
        return AppRoleLogin(chosen.role_id, chosen.secret_id_file, mount)
    if chosen.auth == "kubernetes" and chosen.role:
        return KubernetesLogin(chosen.role, chosen.jwt_file, mount)
    if chosen.auth == "cert" and chosen.key_file:
        return CertLogin(chosen.key_file, chosen.role or "", mount)
    return TokenLogin(chosen.token_file, chosen.token_env, environ)
