# packages.sh ROOT DIGEST PYTHON <TAR: unpack wheels into ROOT/packages/DIGEST, which appears when all are there.
set -eu
umask 022
new=$1/packages/.$2
rm -rf "$new"
mkdir "$new" "$new/.wheels"
tar -xof - -C "$new/.wheels"
cd "$new/.wheels"
sha256sum -c SHA256SUMS >/dev/null
for wheel in *.whl; do "$3" -m zipfile -e "$wheel" "$new"; done
cd "$new"
rm -rf .wheels
# Once, for a service may write nothing; their own tests are not run there.
"$3" -m compileall -q -x '/tests?/' . >/dev/null || :
sync -f . 2>/dev/null || sync
mv -fT "$new" "$1/packages/$2"
