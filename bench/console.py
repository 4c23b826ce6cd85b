"""The console: how fast every page of it answers with a large fleet on record.

A service with a million certificates and ten thousand tunnels (bench.console_seed) on PostgreSQL; one person, signed in
with a token, loads every page of the route table two hundred times: with other things, other searches, and what the
pages themselves link to. Against the limit of 300 ms for 95 of 100.
"""

import json
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import quote, urlencode

import urllib3
from sqlalchemy import Connection, Select, func, select

from api.console.page import Page
from api.console.pages import PAGES
from bench.load import LoadFailed
from bench.ours import Ours
from bench.postgresql import Postgresql
from bench.rounds import Bench, Row, compare
from bench.sides import start_ours
from pki.certificate_ids import STATUSES
from pki.x509.builtin import builtin_profiles
from store.approval_tables import approvals
from store.console_tables import sessions
from store.engine import open_store
from store.finding_tables import findings
from store.fleet_tables import gateway_sas, gateways, tunnels
from store.monitoring_tables import sa_alerts
from store.rotation_tables import rotations
from store.tables import audit_events, authorities, certificates, job_runs, tokens

_QUICK = (20_000, 500, 20)
_REQUESTS = 200
_LIMIT_MS = 300.0
# A page that is far too slow is so with fewer requests.
_LEAST, _LONGEST = 20, 30.0
_SAMPLES = 200
_LINKS = 40
_SEED = 20_270_301


def run(bench: Bench) -> list[Row]:
    """Fill an instance, and load every page."""
    options = bench.options
    count, fleet, requests = options.certificates, options.tunnels, _REQUESTS
    if options.quick:
        count, fleet, requests = _QUICK
    if bench.database_url is None:
        place = bench.directory / "postgresql"
        place.mkdir()
        server = Postgresql(place)
        bench.stack.callback(server.stop)
        bench.database_url = server.url
    service = start_ours(bench, serving=False)
    bench.say(f"putting {count:,} certificates and {fleet:,} tunnels on record")
    words = (str(service.directory), str(count), str(fleet))
    done = json.loads(
        service.run(
            [sys.executable, "-m", "bench.console_seed", *words], seconds=3600
        ).splitlines()[-1]
    )
    bench.say(f"that took {done['seconds']:,.0f} s")
    service.start()
    note = f"{count:,} certificates, {fleet:,} tunnels, {requests} requests"
    return [row for page in pages() for row in measure(bench, service, page, requests, note)]


def pages() -> list[Page]:
    """Every page that shows something, from the route table: so none is forgotten."""
    return [each for each in sorted(PAGES, key=lambda each: each.path) if each.method == "GET"]


def measure(bench: Bench, service: Ours, page: Page, requests: int, note: str) -> Iterator[Row]:
    """Load a page so often; gives a row for the median and one for 95 of 100."""
    person = _Person(service)
    targets = _Targets(service, page)
    times: list[float] = []
    slow: dict[str, float] = {}
    refused: set[str] = set()
    began = time.monotonic()
    for number in range(requests):
        if number >= _LEAST and time.monotonic() - began > _LONGEST:
            break
        target = targets.next(number)
        took, content = person.load(target)
        if content is None:
            refused.add(target)
            continue
        targets.learn(content)
        times.append(took)
        slow[target] = max(took, slow.get(target, 0.0))
    if not times:
        # As a way to sign in that is not set up here.
        bench.say(f"{page.path}: not measured, nothing is there")
        return
    if len(refused) > len(times):
        raise LoadFailed(f"{page.path} refused {len(refused)}, as {sorted(refused)[0]}")
    times.sort()
    name = page.path.strip("/").replace("/", "_") or "overview"
    worst = max(slow, key=lambda each: slow[each])
    median, late = times[len(times) // 2], times[int(len(times) * 0.95)]
    bench.say(f"{page.path}: p50 {median:.0f} ms, p95 {late:.0f} ms; {slow[worst]:.0f} ms {worst}")
    for label, value in (("p50", median), ("p95", late)):
        what = ("console", f"{re.sub(r'[{}]', '', name)}_{label}", "ms")
        yield compare(what, [value], "limit", [_LIMIT_MS], less_is_better=True, note=note)


class _Person:
    """Somebody at the console, signed in on one kept connection."""

    def __init__(self, service: Ours) -> None:
        self._url = service.url
        self._http = urllib3.PoolManager(
            ca_certs=str(service.directory / "root-ca.pem"), retries=False, timeout=60.0
        )
        answer = self._http.request(
            "POST",
            f"{self._url}/sign-in",
            body=urlencode({"token": service.admin_token}),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": self._url},
            redirect=False,
        )
        if answer.status != 303:
            raise LoadFailed(f"sign in: {answer.status}")
        self._cookie = answer.headers["Set-Cookie"].partition(";")[0]

    def load(self, target: str) -> tuple[float, str | None]:
        """Load a page; gives milliseconds and its content, None where it makes no sense. Raises LoadFailed."""
        began = time.perf_counter()
        answer = self._http.request(
            "GET",
            f"{self._url}{target}",
            headers={"Cookie": self._cookie, "Accept": "text/html"},
            redirect=False,
        )
        took = (time.perf_counter() - began) * 1e3
        if answer.status >= 500:
            raise LoadFailed(f"GET {target}: {answer.status}")
        return took, None if answer.status >= 400 else answer.data.decode("utf-8", "replace")


@dataclass
class _Targets:
    """What to load of a page: things by turns, searches, and what it links to of its own kind."""

    service: Ours
    page: Page
    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(_SEED)
        store = open_store(self.service.database_url, pool_size=1)
        try:
            with store.read() as connection:
                self._things = {
                    name: _things(connection, self.page.path, name)
                    for name in _names(self.page.path)
                }
                self._queries = _queries(connection, self.page)
        finally:
            store.close()

    def next(self, number: int) -> str:
        """The next one: every third what a page linked to, where there is such."""
        if self.links and number % 3 == 2:
            return self._chance.choice(self.links)
        path = self.page.path
        for name, things in self._things.items():
            path = path.replace("{" + name + "}", quote(str(self._chance.choice(things)), safe=""))
        query = self._queries[number % len(self._queries)]
        return path + (f"?{urlencode(query)}" if query else "")

    def learn(self, content: str) -> None:
        """Look for further pages in what was loaded: the next ones, and filters."""
        if self._things or len(self.links) >= _LINKS:
            return
        for found in re.findall(r'(?:href|hx-get)="([^"]+)"', content):
            link = unescape(found)
            if link.partition("?")[0] == self.page.path and "?" in link and link not in self.links:
                self.links.append(link)


def _names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


_SERIALS: Select[tuple[str]] = select(certificates.c.serial).where(
    certificates.c.status != "abandoned"
)
_KINDS: Mapping[str, Select[tuple[str]] | Select[tuple[int]]] = {
    "certificates": _SERIALS,
    "authorities": select(authorities.c.name),
    "gateways": select(gateways.c.name),
    "tunnels": select(tunnels.c.name),
    "rotations": select(rotations.c.id),
    "alerts": select(sa_alerts.c.id),
    "findings": select(findings.c.id),
    "approvals": select(approvals.c.id),
    "jobs": select(job_runs.c.job).distinct(),
    "tokens": select(tokens.c.id),
    "sessions": select(sessions.c.id),
    "audit-log": select(audit_events.c.id),
}
# What stands in a path and is no record.
_FIXED: Mapping[str, Sequence[str]] = {
    "kind": ("psk",),
    "profiles": tuple(name for name, each in builtin_profiles().items() if not each.internal),
    "language": ("en", "zh"),
    "file": ("console.css", "console.js", "vendor/htmx.min.js"),
}


def _things(connection: Connection, path: str, name: str) -> Sequence[object]:
    """Some of what a name in a path may stand for. Raises LoadFailed for one that is not known here."""
    before = path.partition("{" + name + "}")[0].strip("/").split("/")
    kind = next((each for each in reversed(before) if each in _KINDS), None)
    if name in _FIXED or before[-1] in _FIXED:
        return _FIXED[name if name in _FIXED else before[-1]]
    if kind is None:
        raise LoadFailed(f"{path}: name something for {name} in bench/console.py")
    query = _KINDS[kind]
    if kind in {"jobs", "authorities", "tokens"}:
        found = connection.scalars(query.limit(_SAMPLES)).all()
    else:
        found = _spread(connection, query)
    if not found:
        raise LoadFailed(f"{path}: there are no {kind}")
    return list(found)


def _spread(connection: Connection, query: Select[tuple[str]] | Select[tuple[int]]) -> list[object]:
    """Some from everywhere in a table: the oldest, the newest, and between."""
    number = query.get_final_froms()[0].c.id
    first = int(connection.scalar(select(func.min(number))) or 0)
    last = int(connection.scalar(select(func.max(number))) or 0)
    chance = random.Random(_SEED)
    places = [first, last, *(chance.randint(first, last) for _ in range(_SAMPLES))]
    found = (
        connection.scalar(query.where(number >= place).order_by(number).limit(1))
        for place in places
    )
    return [each for each in found if each is not None]


def _queries(connection: Connection, page: Page) -> list[dict[str, str]]:
    """Searches for what the page takes: each field by itself with several values, and some together."""
    values = dict(_values(connection, page))
    if _names(page.path):
        values.pop("authority", None)  # it would have to be that of the thing
    fields = page.query.model_fields
    needed = {name: values[name][0] for name in fields if fields[name].is_required()}
    found: list[dict[str, str]] = [needed]
    for name in fields:
        found += [needed | {name: value} for value in values.get(name, ())]
    if {"gateway", "connection"} <= fields.keys():
        # Of one that is there; otherwise there would be little to show.
        found = [needed, *_connections(connection)]
    chance = random.Random(_SEED)
    usable = [name for name in fields if values.get(name)]
    for _ in range(10 if len(usable) > 1 else 0):
        some = chance.sample(usable, 2)
        found.append(needed | {name: chance.choice(values[name]) for name in some})
    chance.shuffle(found)
    return found


def _connections(connection: Connection) -> list[dict[str, str]]:
    ids = _spread(connection, select(gateway_sas.c.id))[:20]
    query = (
        select(gateways.c.name, gateway_sas.c.connection)
        .join_from(gateway_sas, gateways)
        .where(gateway_sas.c.id.in_(ids))
    )
    return [
        {"gateway": row.name, "connection": row.connection} for row in connection.execute(query)
    ]


def _values(connection: Connection, page: Page) -> Mapping[str, Sequence[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    rows = [
        connection.execute(select(certificates).where(certificates.c.serial == serial)).first()
        for serial in _spread(connection, _SERIALS)[:6]
    ]
    for row in (row for row in rows if row is not None):
        name = row.names.partition(":")[2]
        values["q"] += [name, name[:8], row.serial, row.serial[:10].upper(), row.spki_sha256]
        values["q"] += [row.fingerprint or "", name.partition(".")[2]]
        values["serial"].append(row.serial[:12])
        values["key"].append(row.spki_sha256)
    values["gateway"] = [str(each) for each in _spread(connection, select(gateways.c.name))[:4]]
    values["tunnel"] = [str(each) for each in _spread(connection, select(tunnels.c.name))[:4]]
    values["q"] += ["gw", "berlin", "fleet.example", "user000123", "munich11", "nothing-like-that"]
    values["q"] += ["tunnel-00001", "partner", "10.0", "gw000123.", "zurich"]
    values["name"] = ["gw0001", "berlin", "host"]
    values["profile"] = ["gateway", "user", "gateway-sharded"]
    values["authority"] = ["issuing", "issuing-us", "issuing-cloud"]
    values["rule"], values["path"] = ["psk-weak"], ["/etc/swanctl/conf.d/0.conf"]
    values["action"] = ["certificate.issue", "tunnel.create"]
    values["actor"], values["baseline"] = ["oscar", "nobody"], ["default"]
    values["person"] = ["oscar", "bench"]
    values["object"] = [f"certificate:issuing:{each}" for each in values["serial"][:2]]
    values["act"] = ["mass.revoke"]
    values["kind"] = ["auth_failures"] if page.path.startswith("/alerts") else ["psk"]
    values["peer"] = ["10.0.2.1"]
    values["severity"] = ["critical", "low"]
    values["site"] = ["berlin11.fleet.example"]
    values["state"], values["status"] = _states(page)
    return {name: [each for each in those if each] for name, those in values.items()}


def _states(page: Page) -> tuple[list[str], list[str]]:
    """States as the page's room has them."""
    words = {
        "alerts": ["open", "ended"],
        "findings": ["open", "accepted", "fixed"],
        "rotations": ["running", "retired", "stuck", "rolled_back"],
        "approvals": ["pending", "used"],
        "map": ["down", "alert", "up"],
        "fleet": ["down", "alert", "up"],
    }
    room = page.path.strip("/").partition("/")[0]
    status = list(STATUSES) if room == "certificates" else ["ok", "unreachable", "behind"]
    return words.get(room, []), status
