#!/bin/sh
# When the root file system is there, /usr included.

/usr/share/ovf-agent/initramfs-apply "${NEWROOT:?}"
