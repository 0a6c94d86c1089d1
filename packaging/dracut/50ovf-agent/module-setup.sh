#!/bin/bash
# dracut's module (dracut.modules(7)): what goes into an initramfs, where the appliance wants that (docs/initramfs.md). The agent
# itself is not in it: that of the root file system is run.

check() {
    local place
    for place in /etc/ovf-agent /usr/lib/ovf-agent; do
        # shellcheck disable=SC2154  # dracut's
        [ ! -e "${dracutsysrootdir-}$place/initramfs" ] || return 0
    done
    # Or by its name, with --add or add_dracutmodules.
    return 255
}

depends() {
    echo base
}

# Where a document may be, also on a machine that is not the one on which this is made; the same as in initramfs-tools' hook.
# File systems are read by the agent itself.
installkernel() {
    hostonly='' instmods sr_mod ata_generic ata_piix ahci virtio_pci virtio_mmio virtio_blk virtio_scsi nvme usb_storage uas \
        vmw_pvscsi mptspi mptsas hv_storvsc xen_blkfront qemu_fw_cfg
}

install() {
    inst_multiple chroot mkdir mount umount
    inst_simple /usr/share/ovf-agent/initramfs-apply
    # After those that make another root file system of it, or load a policy.
    # shellcheck disable=SC2154  # dracut's
    inst_hook pre-pivot 60 "$moddir/pre-pivot.sh"
}
