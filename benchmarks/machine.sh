#!/bin/sh
# machine.sh FOLDER PORT: be a whole machine with systemd as process 1, on this one's files and network, until it is
# killed. What it writes goes to memory. Started by: unshare --mount --pid --fork --uts --ipc --cgroup machine.sh ...
# FOLDER holds the keys of an sshd, which listens on 127.0.0.1:PORT for the user pi; pi may do anything by sudo.
set -e
v1() { mkdir "sys/fs/cgroup/$1" && mount -t cgroup -o "$2" cgroup "sys/fs/cgroup/$1"; }
folder=$1 port=$2
mount --make-rprivate /
mount -t tmpfs -o size=1g,nr_inodes=60k tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
cp -r "$folder" opt/keys
chmod 755 opt/keys
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs sysfs sys
mount --rbind /dev dev
# cgroups as the host has them: version 2, or version 1 beside it.
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs tmpfs sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    case $controllers in
      "") mkdir sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 sys/fs/cgroup/unified ;;
      name=*) v1 "${controllers#name=}" "none,$controllers" ;;
      *) v1 "$controllers" "$controllers" ;;
    esac
  done </proc/self/cgroup
fi
# Nothing of the host's own services, and nothing that would set up devices or kernel parameters.
rm -rf etc/systemd/system/*.wants lib/systemd/system/*.wants
rm -f etc/systemd/system/edgecnn.service
mkdir -p etc/systemd/system/multi-user.target.wants run/sshd
cat >etc/systemd/system/board-sshd.service <<UNIT
[Service]
ExecStartPre=/bin/mkdir -p /run/sshd
ExecStart=/usr/sbin/sshd -D -e -f /opt/keys/sshd_config
KillMode=process
UNIT
ln -s ../board-sshd.service etc/systemd/system/multi-user.target.wants/
# A number that no user of the host gets: processes in here are the host's too, and shown there by number.
chroot . useradd -m -u 47110 -s /bin/sh -p '*' pi
chmod 700 home/pi
echo 'pi ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/pi
chmod 440 etc/sudoers.d/pi
cat >opt/keys/sshd_config <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey /opt/keys/host
AuthorizedKeysFile /opt/keys/authorized
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
MaxSessions 40
CONFIG
mkdir -p .old
pivot_root . .old
umount -l /.old
exec env -i container=unshared PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=multi-user.target --log-target=null
