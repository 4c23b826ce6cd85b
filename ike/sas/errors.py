"""What keeps the SAs of a host from being listed."""

from core.errors import InvalidInput, Unavailable


class SasUnknown(InvalidInput):
    """A file holds nothing in which SAs are known to stand."""

    code = "sas_unknown_form"
    next_step = (
        "Give what `ip -s xfrm state list nokeys`, `ipsec trafficstatus`, `ipsec whack --status`, `netsh advfirewall"
        " monitor show mmsa` or `Get-NetIPsecQuickModeSA | ConvertTo-Json` printed."
    )


class SasUnreadable(InvalidInput):
    """A file with SAs cannot be read."""

    code = "sas_unreadable"
    next_step = "Name a file that is there and may be read, or - for standard input."


class SasUnreachable(Unavailable):
    """Neither a daemon nor the kernel of this host could be asked."""

    code = "sas_unreachable"
    next_step = "Run it as root, on the gateway, or give it a file; on Windows the output of netsh or PowerShell."
