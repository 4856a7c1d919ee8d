#!/bin/sh
# mmdebstrap's customize hook: makes an ordinary host of the file system in $1.
# FILES is copied over it, SSHD_OPTIONS holds lines that only this release's
# sshd knows, DRIVER is what will run the host.
set -eu
umask 022
root=$1

chmod -R u=rwX,go=rX "$FILES"
cp -r --no-preserve=ownership "$FILES/." "$root/"
chmod 0440 "$root/etc/sudoers.d/ops"
printf '%s\n' "$SSHD_OPTIONS" >>"$root/etc/ssh/sshd_config.d/lab.conf"

for user in ops nosudo; do
	chroot "$root" useradd --create-home --shell /bin/bash "$user"
done
chroot "$root" systemctl --quiet enable \
	lab-underlay.service openvswitch-switch.service ssh.service docker.service
# No timers on a host that lives for minutes.
chroot "$root" systemctl --quiet mask \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
case "$DRIVER" in
nspawn)
	# No replaying of devices: they are the machine's, not this host's.
	chroot "$root" systemctl --quiet mask systemd-udev-trigger.service
	;;
qemu)
	chroot "$root" systemctl --quiet enable lab-identity.service lab-sh.socket
	# The console is for reading; lab sh is the way in.
	chroot "$root" systemctl --quiet mask serial-getty@ttyS0.service
	chroot "$root" update-initramfs -u
	# What systemd would bring up to date at the first boot is new; see
	# systemd-update-done.service(8).
	touch "$root/etc/.updated" "$root/var/.updated"
	;;
esac

# An identity belongs to a host, not to the image.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/openvswitch/conf.db" "$root/etc/openvswitch/system-id.conf"
: >"$root/etc/machine-id"
# A login that runs no command of its own is a fast login.
rm -rf "$root/etc/update-motd.d" "$root/etc/motd"
: >"$root/etc/default/locale" # pam_env complains of its absence at every login

# A container image for hosts that reach no registry: docker import takes a tar.
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir "$box/bin"
mkdir --mode=1777 "$box/tmp"
cp "$root/bin/busybox" "$box/bin/busybox"
chroot "$root" busybox --list | while read -r applet; do
	[ "$applet" = busybox ] || ln -s busybox "$box/bin/$applet"
done
mkdir -p "$root/usr/share/lab"
tar --create --file "$root/usr/share/lab/busybox.tar" --sort=name --owner=0 --group=0 --directory "$box" bin tmp
