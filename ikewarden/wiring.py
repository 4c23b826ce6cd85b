"""Settings become the ports that operations work with."""

import os
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from core.errors import InvalidInput
from core.secret import Secret
from hsm.errors import KeyStoreError
from hsm.folder import PrivateFolder
from hsm.keystores import KeyStores
from hsm.passphrase import LONGEST, find_passphrase, line_from_file, passphrase_from_file
from hsm.ports import KeyStore
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from hsm.secretfiles import SecretFiles
from hsm.secretstore import SecretStore
from hsm.token.pin import PinGuard, find_pin
from hsm.token.process import TokenPlace, TokenProcess
from hsm.token.store import TokenKeyStore
from ikewarden import receivers
from ikewarden.settings_endpoints import endpoints_in
from ikewarden.settings_in_force import in_force
from ikewarden.settings_model import Settings
from pki.actors import Role
from pki.desk import ApprovalRules, Desk, OidcRules, Retention, RotationRules, Rules, SessionRules
from pki.x509.builtin import builtin_profiles
from pki.x509.profile import InvalidProfile, Profile, parse_profile
from scheduler.clock import read_clock
from store.engine import Limits, open_store, parse_url

Prompt = Callable[[str], str]
PIN_QUESTION: Final = "PIN of the token: "
_SCHEMES: Final = {"files": "sealed", "pkcs11": "pkcs11", "transit": "transit"}


class DatabasePasswordUnusable(KeyStoreError, InvalidInput):
    """There is no password of the database in the file that [database] password_file names."""

    code = "database_password_unusable"
    next_step = "Write the password into the file as its only line, with mode 0600."


def open_keys(
    settings: Settings, environ: Mapping[str, str], prompt: Prompt | None = None
) -> KeyStores:
    """Open the sealed keys, and what other key stores are set up. `prompt` asks a person: it is given the question.

    Raises the errors of `hsm.passphrase`, `hsm.seal`, `hsm.sealedfiles`, and PinUnusable.
    """
    return open_stores(settings, open_sealed(settings, environ, prompt), environ, prompt)


def sealing_passphrase(
    settings: Settings, environ: Mapping[str, str], prompt: Prompt | None = None
) -> Secret:
    """The passphrase of the sealed keys, from where the settings say. Raises the errors of `hsm.passphrase`."""
    return find_passphrase(
        file=settings.keys.passphrase_file,
        variable=settings.keys.passphrase_env,
        environ=environ,
        prompt=prompt and partial(prompt, "Passphrase of the key store: "),
    )


def open_sealed(
    settings: Settings, environ: Mapping[str, str], prompt: Prompt | None = None
) -> SealedFileKeyStore:
    """Open the sealed keys. Raises the errors of `hsm.passphrase`, `hsm.seal` and `hsm.sealedfiles`."""
    seal = Seal.open(settings.keys.directory, sealing_passphrase(settings, environ, prompt))
    return SealedFileKeyStore(settings.keys.directory, seal)


def open_stores(
    settings: Settings,
    sealed: SealedFileKeyStore,
    environ: Mapping[str, str],
    prompt: Prompt | None = None,
) -> KeyStores:
    """All key stores that are set up, as one. No module is loaded, and nothing connected, before a key is needed.

    Raises PinUnusable.
    """
    others: dict[str, KeyStore] = {}
    if settings.keys.pkcs11.module is not None:
        others["pkcs11"] = open_token(settings, sealed, environ, prompt)
    if settings.keys.uses_transit:
        # Only who has such a server needs its libraries.
        from ikewarden.vault import open_transit

        others["transit"] = open_transit(settings.keys.transit, settings.secrets, environ)
    return KeyStores(sealed, others, _SCHEMES[settings.keys.store])


def open_token(
    settings: Settings,
    sealed: SealedFileKeyStore,
    environ: Mapping[str, str],
    prompt: Prompt | None = None,
) -> TokenKeyStore:
    """The key store in a token; `[keys.pkcs11] module` is set. Raises PinUnusable."""
    chosen = settings.keys.pkcs11
    source = find_pin(
        file=chosen.pin_file,
        variable=chosen.pin_env,
        environ=environ,
        prompt=prompt and partial(prompt, PIN_QUESTION),
    )
    place = TokenPlace(
        module=chosen.module or Path(),
        label=chosen.token or "",
        serial=chosen.serial or "",
        sessions=chosen.sessions,
        seconds=chosen.timeout_seconds,
        withheld=_secret_variables(settings),
    )
    process = TokenProcess(place, PinGuard(source, sealed))
    return TokenKeyStore(process, PrivateFolder(sealed.directory))


def _secret_variables(settings: Settings) -> frozenset[str]:
    """The environment variables in which the settings say that there are secrets."""
    keys = settings.keys
    return frozenset(
        {
            keys.passphrase_env,
            keys.pkcs11.pin_env,
            keys.transit.token_env,
            settings.secrets.token_env,
        }
    )


def open_secrets(settings: Settings, seal: Seal, environ: Mapping[str, str]) -> SecretStore:
    """The store of shared secrets. It neither connects nor logs in before it is asked for something.

    Raises SecretStoreUnavailable for a directory that others can read.
    """
    chosen = settings.secrets
    if chosen.store == "files":
        return SecretFiles(chosen.directory, seal, read_clock)
    # Only who has such a server needs its libraries.
    from ikewarden.vault import open_vault

    return open_vault(chosen, environ)


def records_url(settings: Settings) -> str:
    """The database's URL with the password, if that is in a file. It may be shown nowhere.

    Raises DatabasePasswordUnusable, NotAPlainFile, WrongOwner, WeakMode.
    """
    chosen = settings.database
    if chosen.password_file is None:
        return chosen.url
    line = line_from_file(
        chosen.password_file, "database password", LONGEST, DatabasePasswordUnusable
    )
    try:
        password = line.decode()
    except UnicodeDecodeError:
        raise DatabasePasswordUnusable(f"{chosen.password_file} is not UTF-8 text.") from None
    if not 0 < len(line) <= LONGEST:
        raise DatabasePasswordUnusable(f"{chosen.password_file} is empty, or no password.")
    return parse_url(chosen.url).set(password=password).render_as_string(hide_password=False)


def make_desk(
    settings: Settings, keys: KeyStores, environ: Mapping[str, str] | None = None
) -> Desk:
    """Open the records and put a desk together. Once per process, after a fork.

    The seal of the shared secrets is that of the sealed keys. `environ` is by default that of this process.
    """
    limits = Limits(busy=timedelta(seconds=settings.database.lock_timeout_seconds))
    store = open_store(records_url(settings), pool_size=settings.database.pool_size, limits=limits)
    environ = environment() if environ is None else environ
    secrets = open_secrets(settings, keys.sealed.seal, environ)
    return Desk(
        store=store,
        keys=keys,
        rules=make_rules(settings),
        secrets=secrets,
        blobs=keys.sealed,
        derive=keys.sealed.seal.derive,
        settings=in_force(settings, environ),
    )


def make_rules(settings: Settings) -> Rules:
    """The part of the settings that operations obey.

    Raises InvalidProfile for a profile file; for files of secrets LoginUnusable and what `passphrase_from_file` raises.
    """
    key_file = settings.notices.webhook_key_file
    return Rules(
        validation_url=settings.validation.public_url,
        is_misdirected=settings.validation.is_misdirected,
        default_authority=settings.issuing.default_authority,
        crl_lifetime=timedelta(hours=settings.crl.full_hours),
        delta_lifetime=timedelta(hours=settings.crl.delta_hours),
        ocsp_lifetime=timedelta(hours=settings.ocsp.hours),
        ocsp_cache=timedelta(seconds=settings.ocsp.cache_seconds),
        refresh_before=settings.crl.refresh_before,
        nonces=settings.validation.ocsp_nonce,
        notice_stages=tuple(settings.notices.stages_days),
        webhook=settings.notices.webhook,
        webhook_key=None if key_file is None else passphrase_from_file(key_file),
        alertmanager=receivers.alertmanager(settings.notices),
        mail=receivers.mail(settings.notices),
        syslog=receivers.syslog(settings.notices),
        reports=tuple(each.schedule for each in settings.reports),
        service_url=service_url(settings),
        cut_limit=settings.fleet.cut_limit,
        unreachable_after=timedelta(seconds=settings.fleet.unreachable_after_seconds),
        crl_spread=timedelta(seconds=settings.fleet.crl_spread_seconds),
        rotation=RotationRules(
            at_once=settings.rotation.at_once,
            per_second=settings.rotation.per_second,
            per_gateway=settings.rotation.per_gateway,
            step=timedelta(minutes=settings.rotation.step_minutes),
            proof=timedelta(minutes=settings.rotation.proof_minutes),
            path=settings.secrets.path,
        ),
        retention=Retention(
            events=timedelta(days=settings.monitoring.events_days),
            counts=timedelta(days=settings.monitoring.counts_days),
            alerts=timedelta(days=settings.monitoring.alerts_days),
        ),
        approvals=ApprovalRules(
            required=frozenset(settings.approvals.required),
            valid=timedelta(hours=settings.approvals.valid_hours),
            mass_revocation=settings.approvals.mass_revocation,
        ),
        sessions=_sessions(settings),
        profiles=builtin_profiles() | _profiles_in(settings.issuing.profiles_directory),
        endpoints=endpoints_in(settings.enrollment.endpoints_directory),
    )


def _sessions(settings: Settings) -> SessionRules:
    chosen, oidc = settings.console, settings.console.oidc
    rules = None
    if oidc.issuer is not None and oidc.client_id is not None:
        file = oidc.client_secret_file
        rules = OidcRules(
            issuer=oidc.issuer,
            client_id=oidc.client_id,
            callback=f"{service_url(settings)}/sign-in/oidc/callback",
            client_secret=None if file is None else passphrase_from_file(file),
            claim=oidc.claim,
            roles=tuple((v, Role(r)) for v, _, r in (each.rpartition("=") for each in oidc.roles)),
            name=oidc.name,
            scopes=oidc.scopes,
            ca_file=oidc.ca_file,
        )
    return SessionRules(
        idle=timedelta(minutes=chosen.idle_minutes),
        longest=timedelta(hours=chosen.hours),
        tries=chosen.tries,
        people=chosen.roles_by_name,
        oidc=rules,
    )


def service_url(settings: Settings) -> str:
    """Where agents reach the API."""
    name = settings.api.names[0]
    host = f"[{name}]" if ":" in name else name
    return settings.fleet.url or f"https://{host}:{settings.api.port}"


def _profiles_in(directory: Path | None) -> dict[str, Profile]:
    if directory is None:
        return {}
    if not directory.is_dir():
        raise InvalidProfile("profiles_directory", f"{directory} is not a directory")
    found: dict[str, Profile] = {}
    for file in sorted(directory.glob("*.toml")):
        try:
            profile = parse_profile(tomllib.loads(file.read_text("utf-8")))
        except InvalidProfile as error:
            raise InvalidProfile(f"{file}: {error.details['key']}", error.message) from None
        except (OSError, ValueError) as error:
            raise InvalidProfile(str(file), f"cannot be read: {error}") from None
        if profile.name in builtin_profiles() or profile.name in found:
            raise InvalidProfile(str(file), f"the name {profile.name!r} is taken")
        found[profile.name] = profile
    return found


def environment() -> Mapping[str, str]:
    """The process environment; only entry points look at it."""
    return os.environ
