"""Signing in by the other ways, in Debian's Chromium: through a provider, with a client certificate; and failing to."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import expect

from tests.console.chromium import Visitor, chromium, required
from tests.console.people import request_for
from tests.console.provider import CLIENT, SECRET, OpenIdProvider
from tests.fixtures.another_year import of_chromium
from tests.fixtures.served import Served, serving

pytestmark = of_chromium
MAIL = "alice@example.com"


@pytest.fixture(autouse=True)
def needs_chromium() -> None:
    """Nothing here goes without."""
    required()


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    made = OpenIdProvider(lambda: datetime.now(UTC))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def service(provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that people enter by every way."""
    folder = tmp_path_factory.mktemp("ways")
    secret = folder / "secret"
    secret.touch(0o600)
    secret.write_text(SECRET)
    environ = {
        "IKEWARDEN_CONSOLE__PEOPLE": f"auditor=email:{MAIL}",
        "IKEWARDEN_CONSOLE__OIDC__ISSUER": provider.issuer,
        "IKEWARDEN_CONSOLE__OIDC__CLIENT_ID": CLIENT,
        "IKEWARDEN_CONSOLE__OIDC__CLIENT_SECRET_FILE": str(secret),
        "IKEWARDEN_CONSOLE__OIDC__ROLES": "vpn-operators=operator",
    }
    with serving(folder / "instance", environ=environ) as made:
        provider.callback = f"{made.url}/sign-in/oidc/callback"
        yield made


def test_through_a_provider_to_where_one_was_going(
    service: Served, provider: OpenIdProvider, tmp_path: Path
) -> None:
    elsewhere = provider.base.removesuffix("/realm")
    with chromium(service.ca_file, tmp_path / "home") as browser:
        visitor = Visitor(browser, service.url, "oidc", elsewhere=elsewhere)
        page = visitor.page
        visitor.go("/findings?state=all")
        visitor.look("sign-in")
        page.get_by_label("Token").fill("iw_guessed")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("alert")).to_be_focused()
        visitor.look("refused")
        page.get_by_role("link", name="Sign in with single sign-on").click()
        page.get_by_role("link", name="I am Alice").click()
        page.wait_for_url(f"{service.url}/findings?state=all")
        expect(page.get_by_role("heading", level=1)).to_have_text("Findings")
        person = page.locator("details.person")
        person.locator("summary").click()
        expect(person).to_contain_text(MAIL)
        visitor.look("person")
        provider.claims = {"groups": ["staff"]}
        person.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign in with single sign-on").click()
        page.get_by_role("link", name="I am Alice").click()
        expect(page.get_by_role("alert")).to_contain_text("oidc_no_role")
        visitor.look("no-role")
        visitor.close()


def test_with_a_client_certificate(
    service: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, csr = request_for(MAIL)
    made = service.client.post("/v1/certificates", {"csr": csr.decode(), "profile": "user"})
    certificate, secret = tmp_path / "certificate", tmp_path / "key"
    certificate.write_text("".join([made["certificate"], *made["chain"]]))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    shown = {"origin": service.url, "certPath": certificate, "keyPath": secret}
    # Where a certificate is shown, it is Playwright that speaks TLS with the service.
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(service.ca_file))
    with chromium(service.ca_file, tmp_path / "home") as browser:
        visitor = Visitor(browser, service.url, "certificate", client_certificates=[shown])
        page = visitor.page
        visitor.go("/sas")
        expect(page.get_by_role("main")).to_contain_text("The browser has shown one.")
        visitor.look("sign-in")
        page.get_by_role("button", name="Sign in with a client certificate").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("SAs that are up")
        person = page.locator("details.person")
        person.locator("summary").click()
        expect(person).to_contain_text(MAIL)
        visitor.close()
        nobody = Visitor(browser, service.url, "certificate")
        nobody.go("/sign-in")
        page = nobody.page
        expect(page.get_by_role("main")).to_contain_text("The browser has shown none so far")
        page.get_by_role("button", name="Sign in with a client certificate").click()
        expect(page.get_by_role("alert")).to_be_visible()
        nobody.look("none")
        nobody.close()
