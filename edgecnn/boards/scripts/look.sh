# look.sh ROOT: say what this board is and what was deployed to ROOT, a line each: name, space, value.
# ROOT as given by the user: a leading ~/ is the home folder.
case $1 in "~/"*) root=$HOME/${1#??} ;; /*) root=$1 ;; *) root=$HOME/$1 ;; esac
echo "root $root"
echo "machine $(uname -m)"
# The word size of the programs, not of the kernel: Raspberry Pi OS of 32 bits runs on a kernel of 64.
echo "elf $(od -An -tx1 -j4 -N16 /bin/sh 2>/dev/null | tr -d ' \n')"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc=$( (ldd --version 2>&1 || :) | head -n 1)
echo "libc $libc"
echo "model $(tr -d '\0' 2>/dev/null </proc/device-tree/model || :)"
for name in python3 python3.13 python3.12 python3.11; do
  path=$(command -v "$name") || continue
  found=$("$path" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  echo "python $found $path"
done
for tool in tar sha256sum flock readlink stat; do
  command -v "$tool" >/dev/null || echo "lacks $tool"
done
there=$root
while [ ! -d "$there" ]; do there=$(dirname "$there"); done
echo "free_blocks $(stat -f -c '%a %S' "$there")"
# By trying: not every file system says beforehand.
tried=$(mktemp "$there/.edgecnn.XXXXXX" 2>/dev/null) && rm -f "$tried" || echo "unwritable $there"
current=$(readlink "$root/current" 2>/dev/null) && echo "current ${current#versions/}"
previous=$(readlink "$root/previous" 2>/dev/null) && echo "previous ${previous#versions/}"
for version in "$root"/versions/*/; do
  [ -d "$version" ] && echo "version $(basename "$version")"
done
for packages in "$root"/packages/*/; do
  [ -d "$packages" ] && echo "packages $(basename "$packages")"
done
[ -d /run/systemd/system ] && echo "systemd yes"
{ [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; } && echo "sudo yes"
unit=$(cat /etc/systemd/system/edgecnn.service 2>/dev/null) && {
  echo "unit $(echo "$unit" | sed -n 's/^BindReadOnlyPaths=//p')"
  echo "listen $(echo "$unit" | sed -n 's/^ExecStart=.*--serve //p')"
}
echo "end of the look"
