#!/usr/bin/env bash
# Unpacks Libreswan, its NSS tools and (for real ESP) User-Mode Linux beside strongSwan, with which Debian's packages
# conflict: nothing is installed. Does nothing when it has been done. Needs root, for apt-get and the cache folder.
set -euo pipefail
cache=${IKEWARDEN_LAB_CACHE:-/var/cache/ikewarden-lab}
# tree: packages, as apt-get takes them. What they need beside and the machine has not is fetched with them.
declare -A trees=(
  [libreswan]="libreswan libnss3-tools"
  [uml]="user-mode-linux kmod"
)
mkdir -p "$cache" && chmod 755 "$cache"
exec 9>"$cache/.lock"
flock 9
for tree in "${!trees[@]}"; do
  [ -e "$cache/$tree/.complete" ] && continue
  read -ra packages <<<"${trees[$tree]}"
  echo "Unpacking into $cache/$tree (not installed): ${packages[*]}"
  work=$(mktemp -d "$cache/.$tree.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/debs/partial" "$work/root"
  fetch() {
    # apt-get would remove strongSwan for its conflict if it installed; it only downloads.
    apt-get install -y -q --no-install-recommends --download-only --reinstall \
      -o "Dir::Cache::archives=$work/debs" -o APT::Sandbox::User=root "${packages[@]}"
  }
  fetch >"$work/log" 2>&1 || { apt-get update -q && fetch; } >>"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    echo "apt-get failed" >&2
    exit 1
  }
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
  (cd "$work/debs" && printf '%s\n' *.deb) >"$work/root/.complete"
  rm -rf "${cache:?}/$tree"
  mv "$work/root" "$cache/$tree"
  rm -rf "$work"
  trap - EXIT
done
