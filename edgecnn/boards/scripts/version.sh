# version.sh ROOT VERSION PACKAGES <TAR: unpack a version, try it there, and let it appear as ROOT/versions/VERSION.
# PACKAGES is the folder in ROOT/packages that it uses, or empty. Exits 10 where the self-test refuses it.
set -eu
umask 022
new=$1/versions/.$2
rm -rf "$new"
mkdir "$new"
tar -xof - -C "$new"
cd "$new"
sha256sum -c SHA256SUMS >/dev/null
[ -z "$3" ] || ln -s "../../packages/$3" packages
sync -f . 2>/dev/null || sync
sh ./run --self-test >.said 2>&1 </dev/null || { cat .said; exit 10; }
cat .said
rm .said
# A damaged one of the same name goes first; it failed its own self-test.
[ ! -e "$1/versions/$2" ] || mv -fT "$1/versions/$2" "$1/versions/.damaged"
mv -fT "$new" "$1/versions/$2"
