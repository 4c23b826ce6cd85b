"""Patterns of includes, and trees that are made to have no end of names."""

from pathlib import Path

import pytest

from ike.secrets import reading, tree
from ike.secrets.tree import Tree


class Counted(Tree):
    """A tree that counts how often a name is looked up."""

    looked = 0

    def _resolved(self, path: str) -> str:
        self.looked += 1
        return super()._resolved(path)


@pytest.fixture
def there(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def put(root: Path, path: str, text: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_links_to_their_own_folder_lead_to_no_end_of_names(there: Counted) -> None:
    put(there.root, "etc/d/a.conf")
    for number in range(10):
        (there.root / f"etc/d/{number}").symlink_to(".")
    found = there.matching("/etc/d/*/*/*/*/*/*/*/*/*/*/*.conf")
    assert found == ["/etc/d/0/0/0/0/0/0/0/0/0/0/a.conf"]
    assert there.looked < 1000
    assert not there.cut_off


def test_a_folder_with_two_names_is_gone_into_by_the_first(there: Counted) -> None:
    put(there.root, "etc/b/x.conf")
    (there.root / "etc/a").symlink_to("b")
    (there.root / "etc/c").symlink_to("b/x.conf")
    put(there.root, "etc/d/x.conf")
    assert there.matching("/etc/*/x.conf") == ["/etc/a/x.conf", "/etc/d/x.conf"]
    assert there.matching("/etc/*") == ["/etc/a", "/etc/b", "/etc/c", "/etc/d"]


def test_what_is_too_much_is_cut_off_and_told(
    there: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_MAX_FOUND", 5)
    for number in range(7):
        put(there.root, f"etc/d/{number}.conf")
    put(there.root, "etc/ipsec.secrets", "include d/*.conf\ninclude d/1*.conf\n")
    found = reading.read(there, ["/etc/ipsec.secrets"])
    assert there.cut_off == {"/etc/d/*.conf"}
    assert [str(each.place) for each in found.problems] == ["/etc/d/*.conf"]
    assert len(found.opened) == 6


def test_so_are_folders_of_more_names_than_are_looked_at(
    there: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_MAX_LISTED", 3)
    for number in range(4):
        put(there.root, f"etc/{number}/x.conf")
    assert len(there.matching("/etc/*/x.conf")) == 3
    assert there.cut_off == {"/etc/*/x.conf"}


def test_a_pattern_through_a_large_tree_is_given_up(
    there: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_MAX_LISTED_IN_ALL", 50)
    for number in range(40):
        put(there.root, f"etc/{number}/none")
    assert there.matching("/etc/*/*.conf") == []
    assert there.cut_off == {"/etc/*/*.conf"}
