#!/bin/bash
# The first process of a guest (tests/lab/uml.py). The machine's own root folder is there, read-only; what may be
# written is in memory, and in $IKEWARDEN_OUT, which is the machine's again.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home
off() { echo o > /proc/sysrq-trigger; sleep 10; }
trap off EXIT
mount -t proc proc /proc && mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm && mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
for place in /tmp /run; do mount -t tmpfs -o mode=1777 tmpfs "$place"; done
mkdir -p /run/netns /run/home "$IKEWARDEN_OUT" && mount -t hostfs -o "$IKEWARDEN_OUT" none "$IKEWARDEN_OUT"
for place in ${IKEWARDEN_SHOW//:/ }; do mkdir -p "$place" && mount -r -t hostfs -o "$place" none "$place"; done
# The kernel loads esp4, gcm and the like itself, by this.
mkdir -p /run/kmod/lib && ln -s "$IKEWARDEN_UML/usr/lib/uml/modules" /run/kmod/lib/modules
ln -s "$IKEWARDEN_UML/bin/kmod" /run/kmod/modprobe
cat > /run/kmod/load <<END
#!/bin/sh
LD_LIBRARY_PATH=$IKEWARDEN_UML/lib/x86_64-linux-gnu exec /run/kmod/modprobe -d /run/kmod "\$@"
END
chmod +x /run/kmod/load
echo /run/kmod/load > /proc/sys/kernel/modprobe
for module in veth bridge tun xfrm_user esp4; do /run/kmod/load $module; done
ip link set lo up
bash "$IKEWARDEN_OUT/command"
echo $? > "$IKEWARDEN_OUT/status"
