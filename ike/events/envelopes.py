"""Lines of JSON that carry a line of a log, made plain: journald, container engines, and charon's own."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from ike.events.programs import dialects_of, dialects_of_container, head_of
from ike.events.stamps import end_of_stamp

# Of Windows' own events, whose fields tell more than their message.
_WINDOWS: Final = frozenset({"winlog", "event_id", "EventID", "EventId", "Id"})
_GROUPED: Final = ("ikesa-name", "ikesa-uniqueid")
_PROGRAMS: Final = (
    "process.name",
    "log.syslog.appname",
    "syslog.appname",
    "syslog.identifier",
    "journald.identifier",
    "SYSLOG_IDENTIFIER",
    "program",
    "programname",
    "appname",
    "app-name",
    "app_name",
    "ident",
    "syslog_program",
    "syslogtag",
    "systemd.unit",
)
_HOSTS: Final = ("log.syslog.hostname", "host.name", "host.hostname", "hostname", "host")
_CONTAINERS: Final = (
    "container.name",
    "container_name",
    "docker.container.name",
    "kubernetes.container.name",
    "kubernetes.container_name",
    "attrs.name",
    "attrs.tag",
)
_ENGINES: Final = frozenset({"docker", "dockerd", "containerd", "podman", "conmon"})


class Plain(NamedTuple):
    """What was in an envelope: the line as a daemon's own log would show it, and whose words it may hold, where the
    envelope names who wrote it. `within` is whose it is where the line itself names no host.
    """

    raw: bytes
    time: float | None
    host: str | None
    dialects: frozenset[str] | None = None
    within: str | None = None


def opened(raw: bytes) -> Plain | None:
    """The line in an envelope; None where `raw` is none that is known. Never raises."""
    try:
        entry = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if "MESSAGE" in entry:
        return _of_journal(entry)
    if "msg" in entry and "group" in entry and "thread" in entry:
        return _of_charon(entry)
    return _of_shipper(entry)


def _of_shipper(entry: dict[str, Any]) -> Plain | None:
    """A line of a container, or one that was shipped, with the stamp of whoever took it."""
    if "log" in entry and ("stream" in entry or "time" in entry):
        message, stamp = entry["log"], entry.get("time")
    elif "message" in entry and "@timestamp" in entry and not _WINDOWS & entry.keys():
        message, stamp = entry["message"], entry["@timestamp"]
    else:
        return None
    if not isinstance(message, str):
        return None
    text = message.rstrip().replace("\n", " ")
    raw, time, when = _encoded(text), None, _text(stamp)
    if end_of_stamp(raw) is not None and head_of(raw).is_named:  # a whole line of syslog
        time = _posix(when)
    else:
        raw = _encoded(f"{when} {text}".lstrip())
    return Plain(raw, time, None, _writer(entry), _whose(entry, _HOSTS, _CONTAINERS))


def _posix(stamp: str) -> float | None:
    try:
        moment = datetime.fromisoformat(stamp)
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _whose(entry: dict[str, Any], *kinds: Sequence[str]) -> str | None:
    """The host and the container by which a line was taken: each container may be a gateway."""
    names = (
        next((found for key in keys if (found := _text(_inside(entry, key)).strip("/"))), "")
        for keys in kinds
    )
    return "/".join(filter(None, names)) or None


def _writer(entry: dict[str, Any]) -> frozenset[str] | None:
    """Whose words a shipped line may hold, by every name in it of a program or of a container."""
    allowed: frozenset[str] | None = None
    for keys, known in ((_PROGRAMS, dialects_of), (_CONTAINERS, dialects_of_container)):
        for key in keys:
            name = _text(_inside(entry, key))
            if name:
                allowed = known(name) if allowed is None else allowed & known(name)
    return allowed


def _inside(entry: dict[str, Any], path: str) -> object:
    """What stands at `a.b`, as one key or as a key within another one's value."""
    if path in entry:
        return entry[path]
    value: object = entry
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _of_journal(entry: dict[str, Any]) -> Plain | None:
    """journald writes text that is not UTF-8 as a list of bytes, and null for what is too long."""
    message = entry["MESSAGE"]
    if isinstance(message, list):
        if not all(isinstance(each, int) and 0 <= each < 256 for each in message):
            return None
        message = bytes(message).decode("utf-8", "replace")
    if not isinstance(message, str):
        return None
    ident = _text(entry.get("SYSLOG_IDENTIFIER")) or _text(entry.get("_COMM")) or "-"
    pid = _text(entry.get("SYSLOG_PID")) or _text(entry.get("_PID"))
    tag = f"{ident}[{pid}]: " if pid else f"{ident}: "
    if "GROUP" in entry and "THREAD" in entry:
        tag += _charon_prefix(
            _text(entry["THREAD"]),
            _text(entry["GROUP"]),
            _text(entry.get("IKE_SA_NAME")),
            _text(entry.get("IKE_SA_UNIQUE_ID")),
        )
    line = _encoded(tag + message.rstrip("\r\n").replace("\n", " "))
    name = _text(entry.get("CONTAINER_NAME")) if ident in _ENGINES else ""
    dialects = dialects_of_container(name) if name else dialects_of(ident)
    host = _whose(entry, ["_HOSTNAME"], ["CONTAINER_NAME"] if name else [])
    return Plain(line, _microseconds(entry), host, dialects)


def _of_charon(entry: dict[str, Any]) -> Plain | None:
    name, number = (_text(entry.get(each)) for each in _GROUPED)
    prefix = _charon_prefix(_text(entry["thread"]), _text(entry["group"]), name, number)
    message = entry["msg"]
    if not isinstance(message, str):
        return None
    stamp = _text(entry.get("time"))
    return Plain(_encoded(f"{stamp} {prefix}{message}".lstrip().replace("\n", " ")), None, None)


def _charon_prefix(thread: str, group: str, name: str, number: str) -> str:
    inner = f"{name}|{number}" if name and number else number
    return f"{thread:0>2}[{group}] " + (f"<{inner}> " if inner else "")


def _microseconds(entry: dict[str, Any]) -> float | None:
    for key in ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"):
        text = _text(entry.get(key))
        if text.isascii() and text.isdigit() and len(text) < 18:  # before the year 9999
            return int(text) / 1_000_000
    return None


def _text(value: object) -> str:
    if isinstance(value, list) and value:  # a field that stands twice
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
