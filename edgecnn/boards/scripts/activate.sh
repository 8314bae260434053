# activate.sh ROOT VERSION SECONDS: make VERSION the current one; where it comes with edgecnn.service, restart that,
# wait for at most SECONDS until it predicts, and go back to the version before when it does not.
# It ends what it began when nobody listens any more. Exits 0, or 10: went back, and what was before is as before;
# 11: went back, and that does not answer either; 12: there was none before, all is stopped; 13: nothing was done.
set -u
umask 022
trap '' HUP INT TERM PIPE
root=$1 version=$2 seconds=$3
cd "$root" || exit 13
exec 3>&1 >"$root/.activate.log" 2>&1 8>"$root/.switching" </dev/null
flock 8 || exit 13
units=/etc/systemd/system
say() { echo "$*" >&3 2>/dev/null || :; echo "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

point() { # point LINK VERSION: in one step, for a rename replaces
  ln -sfn "versions/$2" ".$1.new" && mv -fT ".$1.new" "$1" && { sync -f . 2>/dev/null || sync; }
}
serve() { # serve VERSION: run its service, and wait until it predicts
  as_root install -m 644 "versions/$1/edgecnn.service" "$units/.edgecnn.service.new" &&
    as_root mv -fT "$units/.edgecnn.service.new" "$units/edgecnn.service" &&
    as_root systemctl daemon-reload &&
    as_root systemctl enable edgecnn.service &&
    { as_root systemctl reset-failed edgecnn.service || :; } &&
    as_root systemctl restart edgecnn.service &&
    sh "versions/$1/run" --healthy "$seconds"
}
withdraw() {
  as_root systemctl disable --now edgecnn.service
  as_root rm -f "$units/edgecnn.service"
  as_root systemctl daemon-reload
}
keep_two() {
  current=$(readlink current) previous=$(readlink previous)
  for found in versions/*; do
    [ "$found" = "$current" ] || [ "$found" = "$previous" ] || rm -rf "$found"
  done
  for found in packages/*; do
    used=no
    for one in versions/*/packages; do
      [ "$(readlink "$one")" = "../../$found" ] && used=yes
    done
    [ $used = yes ] || rm -rf "$found"
  done
}

before=$(readlink current)
before=${before#versions/}
point current "$version" || { say "the link could not be changed"; exit 13; }
if [ ! -f "versions/$version/edgecnn.service" ] || serve "$version"; then
  [ -z "$before" ] || [ "$before" = "$version" ] || point previous "$before"
  keep_two
  exit 0
fi
say "$(tail -n 1 "$root/.activate.log")"
if [ -z "$before" ] || [ ! -d "versions/$before" ]; then
  withdraw
  rm -f current
  exit 12
fi
point current "$before" || exit 11
if [ ! -f "versions/$before/edgecnn.service" ]; then withdraw; exit 10; fi
if serve "$before"; then exit 10; else exit 11; fi
