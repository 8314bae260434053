# lock.sh ROOT: hold the lock of deployments to ROOT while lines arrive; clear away what a killed one left.
set -u
umask 022
mkdir -p "$1/versions" "$1/packages" || exit 3
exec 9>"$1/.lock" || exit 3
flock -w 5 9 || { echo busy; exit 4; }
# A switch goes on when the one who asked for it is gone.
exec 8>"$1/.switching" || exit 3
flock -w 180 8 || { echo busy; exit 4; }
exec 8>&-
rm -rf "$1"/versions/.??* "$1"/packages/.??*
echo locked
# A line is due every few seconds: a network that went away silently does not keep the lock for hours. The lock is not
# for head, which outlives this script by as much.
while [ -n "$(timeout 60 head -n 1 9>&-)" ]; do :; done
