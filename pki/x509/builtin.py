"""The profiles that come with the program, read once from the TOML files beside this package."""

import tomllib
from functools import cache
from importlib.resources import files

from pki.x509.profile import Profile, parse_profile


@cache
def _load() -> tuple[Profile, ...]:
    folder = files("pki") / "profiles"
    documents = [entry for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return tuple(
        parse_profile(tomllib.loads(entry.read_text("utf-8")), builtin=True)
        for entry in sorted(documents, key=lambda entry: entry.name)
    )


def builtin_profiles() -> dict[str, Profile]:
    """The built-in profiles by name; the dictionary is the caller's, the profiles are shared."""
    return {profile.name: profile for profile in _load()}
