#!/bin/sh
# Boots systemd as the first process of private namespaces, over an overlay of this machine's files.
#
#   boot.sh CGROUP PLACE    PLACE holds files/ (laid over /) and host/ (READY=1 comes to host/notify)
#
# Ends when its systemd does, and leaves nothing: the mounts are private, the control group is
# removed. TERM, which the kernel sends when the tests die, ends systemd.
set -eu

inside() {
    cd "$1"
    mkdir -m 755 tree
    mount -t tmpfs -o mode=755 tree tree
    mkdir tree/work tree/root
    cp -a files tree/upper
    mount -t overlay -o lowerdir=/,upperdir=tree/upper,workdir=tree/work overlay tree/root
    cd tree/root
    mount -t proc proc proc
    # The kernel's settings are this machine's too.
    for part in proc/sys proc/sysrq-trigger proc/irq proc/bus; do
        [ ! -e "$part" ] || { mount --bind "$part" "$part" && mount -o remount,bind,ro "$part"; }
    done
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    for place in dev run tmp var/tmp var/log; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
    chmod 1777 tmp var/tmp
    for node in null zero full random urandom tty; do
        : >"dev/$node" && mount --bind "/dev/$node" "dev/$node"
    done
    mkdir dev/pts dev/shm run/host run/outside
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    mount --bind "$1/host" run/host
    pivot_root . run/outside
    umount -l run/outside
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=gpupanel NOTIFY_SOCKET=/run/host/notify \
        /lib/systemd/systemd --unit=gpupanel-test.target
}

if [ "$1" = --inside ]; then inside "$2"; fi

trap 'kill -KILL $(cat "/proc/$child/task/$child/children") || true' TERM
mkdir "$2/cgroup"
mount -t cgroup2 cgroup2 "$2/cgroup"
group=$2/cgroup/$1
mkdir "$group"
(
    sh -c 'echo $PPID' >"$group/cgroup.procs"
    exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child=KILL \
        "$0" --inside "$2"
) &
child=$!
while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done # TERM ends a wait too
find "$group" -depth -type d -exec rmdir {} +
