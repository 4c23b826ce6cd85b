"""A lab: gateways on a network of their own, beside the machine's and beside other labs.

::

    root namespace          service namespace             gateway namespaces
    tests, services  <----> 192.0.2.254 on br0  <-------> eth0 192.0.2.1   lo 10.1.0.1/24
      (sockets and relays     |                           eth0 192.0.2.2   lo 10.2.0.1/24
       only, no interface)    +-- further plugs
"""

import contextlib
import os
import secrets
import shutil
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Interface
from pathlib import Path

from tests.lab import namespaces, ownership
from tests.lab.charon import DAEMON, Gateway
from tests.lab.errors import LabError
from tests.lab.namespaces import Namespace
from tests.lab.ownership import Claim, ProcessId
from tests.lab.pluto import Pluto
from tests.lab.relay import Relay
from tests.lab.settings import Section
from tests.lab.site import Site
from tests.lab.unpacked import LIBRESWAN

SERVICE_ADDRESS = "192.0.2.254"
_PREFIX = 24
_PACKAGES = (
    "charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-extra-plugins"
    " libstrongswan-standard-plugins iproute2 iputils-ping"
)
_PROGRAMS = ("ip", "unshare", "mount", "ping", "swanctl", DAEMON)


class Lab:
    """A network of namespaces with gateways on it; leave the `with` block and everything is gone.

    The addresses are the same in every lab; labs do not see each other.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(3)
        self.directory = Path(f"/tmp/{ownership.DIRECTORY_PREFIX}{self.id}")
        self.gateways: dict[str, Gateway] = {}
        self.plutos: dict[str, Pluto] = {}
        self.service_address = SERVICE_ADDRESS
        self._closing = contextlib.ExitStack()
        self._hosts: list[Namespace] = []
        owner = ProcessId.of(os.getpid())
        assert owner is not None
        self._claim = Claim(self.id, owner, self.directory)

    def __enter__(self) -> "Lab":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Sweep what dead labs left, then make this one's directory and network."""
        with ownership.exclusively():
            ownership.sweep()
            self._claim.write()
            self.directory.mkdir(mode=0o700)
            try:
                self.service = namespaces.create(self._claim, "service", self.service_address)
                self._hosts.append(self.service)
                namespaces.make_bridge(self.service, _PREFIX)
            except BaseException:
                self._claim.release()
                raise

    def stop(self) -> None:
        """End every process of this lab and remove its namespaces and files."""
        try:
            self._closing.close()
            started = [each for host in self._hosts for each in host.started]
            for process in started:
                process.ask_to_end()
            for process in started:
                process.stop()
        finally:
            with ownership.exclusively():
                self._claim.release()

    # who is on the network

    def namespace(self, name: str, *, outside: str = "", inside: str = "") -> Namespace:
        """A host on the lab's network, nothing running; `inside` (with prefix) is on its lo."""
        number = len(self._hosts)  # the service is the first
        made = namespaces.create(self._claim, name, outside or f"192.0.2.{number}")
        self._hosts.append(made)
        namespaces.plug(self.service, made, port=f"plug{number}", prefix=_PREFIX, inside=inside)
        return made

    def gateway(
        self,
        name: str,
        *,
        outside: str = "",
        inside: str = "",
        settings: Section | None = None,
        start: bool = True,
    ) -> Gateway:
        """A gateway with a running charon.

        The n-th host has 192.0.2.n outside and 10.n.0.1/24 inside unless told. `settings` is
        laid over its strongswan.conf below `charon-systemd`.
        """
        within = IPv4Interface(inside or f"10.{len(self._hosts)}.0.1/24")
        namespace = self.namespace(name, outside=outside, inside=str(within))
        directory = self.directory / name
        directory.mkdir(mode=0o700)
        gateway = Gateway(
            name,
            namespace,
            inside=within,
            directory=directory,
            kernel_esp=self.kernel_esp,
            settings=settings or {},
        )
        self.gateways[name] = gateway
        if start:
            gateway.start()
        return gateway

    def pluto(
        self,
        name: str,
        *,
        outside: str = "",
        inside: str = "",
        setup: Mapping[str, object] | None = None,
        options: Sequence[str] = (),
        start: bool = True,
    ) -> Pluto:
        """A gateway with a running pluto (Libreswan), with addresses as of `gateway`.

        `setup` is laid into `config setup` of its ipsec.conf, `options` go to pluto. Raises LabError where Libreswan
        was not unpacked.
        """
        if reason := LIBRESWAN.missing():
            raise LabError(reason)
        within = IPv4Interface(inside or f"10.{len(self._hosts)}.0.1/24")
        namespace = self.namespace(name, outside=outside, inside=str(within))
        # The kernel looks for a route before it looks for a policy, and pluto makes none.
        namespaces.ip_batch(namespace.name, f"route add default via {SERVICE_ADDRESS}")
        directory = self.directory / name
        directory.mkdir(mode=0o700)
        gateway = Pluto(
            name,
            namespace,
            inside=within,
            directory=directory,
            setup=setup or {},
            options=options,
        )
        self.plutos[name] = gateway
        if start:
            gateway.start()
        return gateway

    @cached_property
    def kernel_esp(self) -> bool:
        """Whether this kernel carries ESP; where not, charon does it (plugin kernel-libipsec)."""
        state = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode tunnel"
        key = "0x" + "00" * 20
        probe = ["ip", "-n", self.service.name, "xfrm", "state"]
        made = namespaces.run(
            [*probe, "add", *state.split(), "aead", "rfc4106(gcm(aes))", key, "128"], check=False
        )
        if made.returncode == 0:
            namespaces.run([*probe, "flush"])
        return made.returncode == 0

    # services that the gateways can reach

    def site(self, port: int = 80) -> Site:
        """A plain-HTTP site at the service address, run by this process."""
        site = Site(self.service.listen(port))
        self._closing.callback(site.close)
        return site

    def publish(self, target: tuple[str, int], *, port: int = 0) -> str:
        """Let the gateways reach a TCP service of the root namespace; returns "192.0.2.254:port".

        Each connection to that address is carried to `target`, such as ("127.0.0.1", 8443); `port`
        is the target's own unless given.
        """
        relay = Relay(self.service.listen(port or target[1]), target)
        self._closing.callback(relay.close)
        return relay.address


def missing(
    *,
    uid: int | None = None,
    which: Callable[[str], str | None] = shutil.which,
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """Why no lab can be made on this machine, in one sentence, or "" when one can."""
    if (os.geteuid() if uid is None else uid) != 0:
        return "the lab needs root: it makes network namespaces and starts IKE daemons"
    programs = [name for name in _PROGRAMS if which(name) is None]
    if programs:
        return f"the lab needs {', '.join(programs)}: apt-get install {_PACKAGES}"
    if not exists("/dev/net/tun"):
        return "the lab needs /dev/net/tun"
    return ""


def usable() -> str:
    """As `missing`, and tries to make a namespace, which containers may not."""
    reason = missing()
    if not reason:
        try:
            namespaces.run(["unshare", "--net", "--mount", "true"])
        except LabError as refused:
            return f"the lab may not make namespaces here: {refused}"
    return reason


def sweep() -> list[str]:
    """Remove what labs of dead owners left behind; returns their ids."""
    with ownership.exclusively():
        return ownership.sweep()
