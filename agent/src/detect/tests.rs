//! Machines in a few words each, and what they are. Each row of each table has one that misses it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Facts, Tables};
use crate::sys::Root;
use Clue::{Arch, Bit, Dir, Dmi, Fadt, File, Initial, Leaf, Sig, VmBit};

/// One thing that a machine shows.
#[derive(Clone, Copy)]
enum Clue {
    Arch(&'static str),
    Bit(bool),
    /// A signature in the block of this number; the hypervisor bit comes with it.
    Sig(u32, &'static [u8; 12]),
    Leaf(u32, [u32; 4]),
    Dmi(&'static str, &'static str),
    VmBit(bool),
    File(&'static str, &'static str),
    Dir(&'static str),
    /// An ACPI table of this revision with a text at this offset.
    Fadt(u8, usize, &'static str),
    /// We run in the initial namespaces.
    Initial,
}

fn facts(clues: &[Clue]) -> Facts {
    let mut facts = Facts { arch: "x86_64".to_owned(), hypervisor_bit: Some(false), ..Facts::default() };
    for clue in clues {
        match *clue {
            Arch(name) => {
                facts.arch = name.to_owned();
                facts.hypervisor_bit = None;
            }
            Bit(bit) => facts.hypervisor_bit = Some(bit),
            Sig(block, text) => {
                let register = |at| u32::from_le_bytes(std::array::from_fn(|i| text[at + i]));
                let base = 0x4000_0000 + block * 0x100;
                facts.cpuid.insert(format!("{base:#x}"), [base + 0xc, register(0), register(4), register(8)]);
                facts.hypervisor_bit = Some(true);
            }
            Leaf(number, registers) => {
                facts.cpuid.insert(format!("{number:#x}"), registers);
            }
            Dmi(field, text) => {
                facts.dmi.insert(field.to_owned(), text.to_owned());
            }
            VmBit(bit) => facts.smbios_vm_bit = Some(bit),
            File(path, text) => {
                facts.files.insert(path.to_owned(), text.to_owned());
            }
            Dir(path) => facts.dirs.push(path.to_owned()),
            Fadt(revision, at, text) => {
                let mut table = vec!['\0'; 276];
                table[8] = char::from(revision);
                for (place, character) in table[at..].iter_mut().zip(text.chars()) {
                    *place = character;
                }
                facts.files.insert("/sys/firmware/acpi/tables/FACP".to_owned(), table.into_iter().collect());
            }
            Initial => facts.init_namespaces = true,
        }
    }
    facts
}

/// `vm`, then what else there is, each after its sign: `kvm in docker on gce as tdx`.
fn words(tables: &Tables<'_>, facts: &Facts) -> String {
    let verdict = tables.judge(facts);
    let mut words = verdict.vm.to_owned();
    for (sign, word) in
        [(" in ", verdict.container), (" on ", verdict.platform), (" as ", verdict.confidential)]
    {
        if let Some(word) = word {
            words = words + sign + word;
        }
    }
    words
}

const ARM: Clue = Arch("aarch64");
const POWER: Clue = Arch("ppc64le");
const KVM: Clue = Sig(0, b"KVMKVMKVM\0\0\0");
const TCG: Clue = Sig(0, b"TCGTCGTCGTCG");
const MASK: Clue = Sig(0, b"Microsoft Hv");
const HIDDEN: Clue = Sig(0, &[0; 12]);
const XEN_TYPE: Clue = File("/sys/hypervisor/type", "xen\n");
const DOM0: Clue = File("/sys/hypervisor/properties/features", "00000820\n");
const DOCKER: Clue = File("/.dockerenv", "");
const WSL: Clue = File("/proc/sys/kernel/osrelease", "6.1.0-WSL2-built-here\n");
const SEV: Clue = Leaf(0x8000_001f, [0b10, 51, 0, 0]);
const CPUINFO: &str = "/proc/cpuinfo";
const COMPATIBLE: &str = "/proc/device-tree/compatible";
const HYPERVISOR: &str = "/proc/device-tree/hypervisor/compatible";
const PCI: &str = "/proc/bus/pci/devices";
const CGROUP: &str = "/proc/self/cgroup";
const MSR: &str = "/dev/cpu/0/msr@0xc0010131";
const ENVIRON: &str = "/proc/1/environ";

const fn product(name: &'static str) -> Clue {
    Dmi("product_name", name)
}
const fn vendor(name: &'static str) -> Clue {
    Dmi("sys_vendor", name)
}
const fn tag(name: &'static str) -> Clue {
    Dmi("chassis_asset_tag", name)
}
const fn container(name: &'static str) -> Clue {
    File("/run/systemd/container", name)
}

#[rustfmt::skip] // a table
const MACHINES: &[(&str, &[Clue], &str)] = &[
    ("nothing at all", &[], "none"),
    ("a desk's machine", &[vendor("Dell Inc."), product("OptiPlex 7090"), VmBit(false)], "none"),
    ("a board without firmware", &[ARM, File(COMPATIBLE, "raspberrypi,5-model-b\0brcm,bcm2712\0")], "none"),

    // CPUID.
    ("KVM", &[KVM], "kvm"),
    ("KVM, enlightenments passed through", &[Sig(0, b"Linux KVM Hv")], "kvm"),
    ("kvmtool, as virt-what knows it", &[Sig(0, b"LKVMLKVMLKVM")], "kvm on kvmtool"),
    ("kvmtool", &[KVM, Leaf(0, [13, 0x4d56_4b4c, 0x4d56_4b4c, 0x4d56_4b4c])], "kvm on kvmtool"),
    ("software emulation", &[TCG], "qemu"),
    ("Xen", &[Sig(0, b"XenVMMXenVMM")], "xen"),
    ("VMware", &[Sig(0, b"VMwareVMware")], "vmware"),
    ("Hyper-V", &[MASK], "microsoft"),
    ("bhyve", &[Sig(0, b"bhyve bhyve ")], "bhyve"),
    ("an early bhyve", &[Sig(0, b"BHyVE BHyVE ")], "bhyve"),
    ("QNX", &[Sig(0, b"QNXQVMBSQG\0\0")], "qnx"),
    ("ACRN", &[Sig(0, b"ACRNACRNACRN")], "acrn"),
    ("SRE", &[Sig(0, b"SRESRESRESRE")], "sre"),
    ("a Mac's guest", &[Sig(0, b"Apple VZ\0\0\0\0")], "apple"),
    ("VirtualBox", &[Sig(0, b"VBoxVBoxVBox")], "oracle"),
    ("Parallels", &[Sig(0, b"prl hyperv  ")], "parallels"),
    ("Parallels, swapped", &[Sig(0, b" lrpepyh  vr")], "parallels"),
    // These say no more than the bit does, but they say it against SMBIOS.
    ("OpenBSD", &[Sig(0, b"OpenBSDVMM58"), vendor("QEMU")], "vm-other"),
    ("Jailhouse", &[Sig(0, b"Jailhouse\0\0\0"), vendor("QEMU")], "vm-other"),
    ("s-Par", &[Sig(0, b"UnisysSpar64"), vendor("QEMU")], "vm-other"),
    ("NetBSD", &[Sig(0, b"___ NVMM ___"), vendor("QEMU")], "vm-other"),
    ("HAXM", &[Sig(0, b"HAXMHAXMHAXM"), vendor("QEMU")], "vm-other"),
    ("KGT", &[Sig(0, b"EVMMEVMMEVMM"), vendor("QEMU")], "vm-other"),
    ("Napoca", &[Sig(0, b"Napocahv    "), vendor("QEMU")], "vm-other"),
    ("a newcomer", &[Sig(0, b"BrandNewName")], "vm-other"),
    ("a name with other padding", &[Sig(0, b" KVMKVMKVM\0\0")], "vm-other"),
    ("a hidden one", &[HIDDEN], "vm-other"),
    ("an echo without the bit", &[KVM, Bit(false)], "none"),
    ("KVM behind the mask", &[MASK, Sig(1, b"KVMKVMKVM\0\0\0"), vendor("QEMU")], "kvm"),
    ("Xen behind the mask", &[MASK, Sig(1, b"XenVMMXenVMM")], "xen"),
    ("Xen at the third block", &[HIDDEN, Sig(2, b"XenVMMXenVMM")], "xen"),
    ("a name at the last block", &[Sig(0xff, b"ACRNACRNACRN")], "acrn"),
    ("a name beyond the last block", &[Bit(true), Sig(0x100, b"ACRNACRNACRN")], "vm-other"),
    ("a name between blocks", &[Bit(true), Leaf(0x4000_0001, [0, 0x4b4d_564b, 0x564b_4d56, 0x4d])], "vm-other"),
    ("KVM under a borrowed name", &[Sig(0, b"VMwareVMware"), Sig(1, b"KVMKVMKVM\0\0\0")], "kvm"),

    // SMBIOS.
    ("QEMU's board for Arm, KVM", &[ARM, vendor("QEMU"), product("KVM Virtual Machine")], "kvm"),
    ("QEMU's board for Arm", &[ARM, vendor("QEMU"), product("QEMU Virtual Machine")], "qemu"),
    ("Nova on Arm", &[ARM, product("OpenStack Nova")], "kvm on openstack"),
    ("KubeVirt on Arm", &[ARM, vendor("KubeVirt"), product("None")], "kvm on kubevirt"),
    ("Alibaba on Arm", &[ARM, product("Alibaba Cloud ECS")], "kvm on alibaba"),
    ("Graviton", &[ARM, vendor("Amazon EC2"), product("c7g.large"), VmBit(true)], "amazon on ec2"),
    ("Graviton, unprivileged", &[ARM, vendor("Amazon EC2"), product("c7g.large")], "amazon on ec2"),
    ("bare Graviton", &[ARM, vendor("Amazon EC2"), product("c7g.large"), VmBit(false)], "none on ec2"),
    ("bare Graviton, unprivileged", &[ARM, vendor("Amazon EC2"), product("c7g.metal")], "none on ec2"),
    ("a part of bare metal", &[vendor("Amazon EC2"), product("m7i.metal-48xl")], "none on ec2"),
    ("not bare metal", &[ARM, vendor("Amazon EC2"), product("c7g.metallic")], "amazon on ec2"),
    ("Nitro", &[KVM, vendor("Amazon EC2"), product("m5.large")], "amazon on ec2"),
    ("QEMU without CPUID", &[vendor("QEMU"), product("Standard PC (Q35 + ICH9, 2009)")], "qemu"),
    ("VMware on Arm", &[ARM, vendor("VMware, Inc."), product("VMware20,1")], "vmware"),
    ("VMware's firmware", &[Dmi("bios_vendor", "VMW71.00V")], "vmware"),
    ("VMware's strings on KVM", &[KVM, vendor("VMware, Inc.")], "kvm"),
    ("VirtualBox, its maker", &[vendor("innotek GmbH ")], "oracle"),
    ("VirtualBox, its product", &[vendor("somebody"), product("VirtualBox")], "oracle"),
    ("VirtualBox as KVM", &[KVM, product("VirtualBox")], "oracle"),
    ("VirtualBox' strings on VMware", &[Sig(0, b"VMwareVMware"), product("VirtualBox")], "vmware"),
    ("VirtualBox in its host's dress", &[KVM, vendor("LENOVO"), Dmi("board_vendor", "Oracle Corporation")], "oracle"),
    ("the same on Arm", &[ARM, VmBit(true), Dmi("board_vendor", "Oracle Corporation")], "oracle"),
    ("the same without a bit", &[Dmi("board_vendor", "Oracle Corporation"), Dmi("board_name", "VirtualBox")], "oracle"),
    ("Oracle's server", &[vendor("Oracle Corporation"), Dmi("board_vendor", "Oracle Corporation")], "none"),
    ("a guest that copies it", &[KVM, vendor("Oracle Corporation"), product("SUN FIRE X4170")], "kvm"),
    ("Oracle's board in another's server", &[vendor("Sun Microsystems"), Dmi("board_vendor", "Oracle Corporation")], "none"),
    ("Xen's strings", &[vendor("Xen"), product("HVM domU")], "xen"),
    ("Xen's strings behind emulation", &[TCG, vendor("Xen")], "xen"),
    ("an old QEMU", &[HIDDEN, vendor("Bochs"), product("Bochs")], "bochs"),
    ("Parallels' strings", &[KVM, product("Parallels Virtual Platform")], "parallels"),
    ("Parallels on Arm", &[ARM, vendor("Parallels International GmbH.")], "parallels"),
    ("bhyve's firmware", &[Dmi("bios_vendor", "BHYVE"), vendor(" ")], "bhyve"),
    ("Hyper-V's version", &[ARM, Dmi("product_version", "Hyper-V UEFI Release v4.1")], "microsoft"),
    ("Hyper-V, generation 1", &[vendor("Microsoft Corporation"), product("Virtual Machine"), Dmi("product_version", "7.0")], "microsoft"),
    ("a Surface", &[vendor("Microsoft Corporation"), product("Surface Pro 9")], "none"),
    ("a Mac's guest on Arm", &[ARM, vendor("Apple Inc."), product("Apple Virtualization Generic Platform")], "apple"),
    ("a Mac", &[vendor("Apple Inc."), product("Macmini8,1")], "none"),
    ("Google", &[KVM, product("Google Compute Engine")], "google on gce"),
    ("Google by its serial number", &[KVM, vendor("Google"), Dmi("product_serial", "GoogleCloud-*")], "kvm on gce"),
    ("Google on Arm", &[ARM, product("Google Compute Engine")], "google on gce"),
    ("Google's bare metal", &[vendor("Google"), product("Google Compute Engine")], "none on gce"),
    ("Google with a hidden hypervisor", &[HIDDEN, product("Google Compute Engine")], "vm-other on gce"),
    ("Google's strings on emulation", &[TCG, product("Google Compute Engine")], "qemu on gce"),
    ("a blade's partition", &[vendor("HITACHI"), product("BladeSymphony LPAR")], "vm-other"),
    ("a blade", &[vendor("HITACHI"), product("BladeSymphony")], "none"),
    ("AHV on Arm", &[ARM, vendor("Nutanix"), product("AHV")], "kvm on nutanix"),
    ("AHV behind the mask", &[MASK, vendor("Nutanix"), product("AHV")], "kvm on nutanix"),
    ("Nutanix' machine", &[vendor("Nutanix"), product("NX-3060-G8")], "none"),
    ("the mask over VMware's strings", &[MASK, vendor("VMware, Inc.")], "vmware"),
    ("the bit of SMBIOS", &[ARM, vendor("Somebody"), VmBit(true)], "vm-other"),

    // Xen's files.
    ("a guest's xenfs", &[Dir("/proc/xen")], "xen"),
    ("a guest by sysfs", &[ARM, XEN_TYPE], "xen"),
    ("a guest inside VMware", &[Sig(0, b"VMwareVMware"), Dir("/proc/xen")], "xen"),
    ("a guest by its features", &[XEN_TYPE, File("/sys/hypervisor/properties/features", "00002705\n")], "xen"),
    ("the control domain by features", &[XEN_TYPE, DOM0], "none"),
    ("the control domain by xenfs", &[File("/proc/xen/capabilities", "vga,control_d\n")], "none"),
    ("the control domain with the bit", &[HIDDEN, XEN_TYPE, DOM0], "none"),
    ("the control domain that sees itself", &[Sig(0, b"XenVMMXenVMM"), XEN_TYPE, DOM0], "none"),
    ("the control domain inside KVM", &[KVM, XEN_TYPE, DOM0], "kvm"),
    ("the control domain inside Hyper-V", &[MASK, XEN_TYPE, DOM0], "microsoft"),
    ("the control domain on Google's bare metal", &[XEN_TYPE, DOM0, product("Google Compute Engine")], "none on gce"),
    ("the control domain inside QEMU on Arm", &[ARM, vendor("QEMU"), XEN_TYPE, DOM0], "qemu"),
    ("somebody else's sysfs", &[ARM, File("/sys/hypervisor/type", "newcomer\n")], "vm-other"),

    // Device trees, and what stands for them.
    ("KVM on POWER", &[POWER, File(HYPERVISOR, "linux,kvm\0")], "kvm"),
    ("Xen on Arm", &[ARM, File(HYPERVISOR, "xen,xen-4.19\0xen,xen\0")], "xen"),
    ("VMware's tree", &[ARM, File(HYPERVISOR, "vmware,esxi\0")], "vmware"),
    ("a cell", &[ARM, File(HYPERVISOR, "jailhouse,cell\0")], "vm-other"),
    ("a partition of POWER", &[POWER, File("/proc/device-tree/ibm,partition-name", "p7\0"), File("/proc/device-tree/hmc-managed?", "\0\0\0\x01")], "powervm"),
    ("QEMU's partition", &[POWER, File(COMPATIBLE, "qemu,pseries\0"), File("/proc/device-tree/ibm,partition-name", "p7\0"), File("/proc/device-tree/hmc-managed?", ""), File("/proc/device-tree/chosen/qemu,graphic-width", "")], "qemu"),
    ("QEMU's configuration device", &[ARM, Dir("/proc/device-tree/fw-cfg@9020000"), File(COMPATIBLE, "linux,dummy-virt\0")], "qemu"),
    ("QEMU's board for POWER", &[POWER, File(COMPATIBLE, "qemu,pseries\0ibm,thing\0")], "qemu"),
    ("a board made for guests", &[ARM, File(COMPATIBLE, "linux,dummy-virt\n")], "vm-other"),
    ("POWER by its processor", &[POWER, File(CPUINFO, "platform\t: pSeries\nmachine\t\t: CHRP IBM,8286-42A\n")], "powervm"),
    ("QEMU by its processor", &[POWER, File(CPUINFO, "platform\t: pSeries\nmodel\t: IBM pSeries (emulated by qemu)\n")], "qemu"),
    ("bare POWER", &[POWER, File(CPUINFO, "platform\t: PowerNV\n")], "none"),
    ("z/VM", &[Arch("s390x"), File("/proc/sysinfo", "LPAR Name: L1\nVM00 Control Program: z/VM    7.3.0\n")], "zvm"),
    ("KVM inside z/VM", &[Arch("s390x"), File("/proc/sysinfo", "VM00 Control Program: KVM/Linux\nVM01 Control Program: z/VM    7.3.0\n")], "kvm"),
    ("a partition of z", &[Arch("s390x"), File("/proc/sysinfo", "LPAR Name: L1\n")], "none"),
    ("user mode", &[KVM, File(CPUINFO, "vendor_id\t: User Mode Linux\n")], "uml"),

    // ACPI and PCI.
    ("QEMU's FADT", &[ARM, Fadt(6, 268, "QEMU")], "qemu"),
    ("Firecracker's FADT", &[ARM, Fadt(6, 268, "FIRECKVM")], "kvm"),
    ("cloud-hypervisor's FADT", &[ARM, Fadt(6, 268, "CLOUDHYP")], "kvm"),
    ("Hyper-V's FADT", &[ARM, Fadt(6, 268, "MsHyperV")], "microsoft"),
    ("an FADT too old to say so", &[ARM, Fadt(5, 268, "MsHyperV")], "none"),
    ("an FADT by QEMU", &[HIDDEN, Fadt(3, 10, "BOCHS ")], "qemu"),
    ("an FADT by QEMU, its table", &[HIDDEN, Fadt(3, 16, "BXPC    ")], "qemu"),
    ("an FADT by VirtualBox", &[HIDDEN, Fadt(4, 10, "VBOX  ")], "oracle"),
    ("an FADT by VMware", &[HIDDEN, Fadt(4, 10, "VMWARE")], "vmware"),
    ("an FADT by Firecracker", &[HIDDEN, Fadt(6, 10, "FIRECK")], "kvm on firecracker"),
    ("an FADT by cloud-hypervisor", &[HIDDEN, Fadt(6, 10, "CLOUDH")], "kvm on cloud-hypervisor"),
    ("Xen on the bus", &[File(PCI, "0010\t58530001\t17\n")], "xen"),
    ("VMware on the bus", &[File(PCI, "0000\t80861237\t0\n0078\t15ad0710\t10\n")], "vmware"),
    ("VirtualBox on the bus", &[File(PCI, "0010\t80eebeef\t12\n")], "oracle"),
    ("VirtualBox' service", &[File(PCI, "0020\t80eecafe\t14\n")], "oracle"),
    ("Hyper-V on the bus", &[File(PCI, "0040\t14145353\tb\n")], "microsoft"),
    ("a real bus", &[File(PCI, "0000\t80869a14\t0\n")], "none"),

    // Containers.
    ("nspawn", &[KVM, container("systemd-nspawn\n")], "kvm in systemd-nspawn"),
    ("libvirt's LXC", &[container("lxc-libvirt")], "none in lxc-libvirt"),
    ("LXC", &[File(ENVIRON, "HOME=/\0container=lxc\0")], "none in lxc"),
    ("OpenVZ by name", &[container("openvz")], "none in container-other"),
    ("Docker by name", &[container("docker")], "none in docker"),
    ("Podman by name", &[container("podman")], "none in podman"),
    ("rkt", &[container("rkt")], "none in rkt"),
    ("WSL by name", &[container("wsl")], "none in wsl"),
    ("PRoot by name", &[container("proot")], "none in proot"),
    ("Pouch", &[container("pouch")], "none in pouch"),
    ("a manager of one's own", &[container("tupperware")], "none in container-other"),
    ("a manager that denies it", &[container("\n")], "none"),
    ("a name better than another", &[File("/run/host/container-manager", "oci\n"), File(ENVIRON, "container=podman\0")], "none in podman"),
    ("OCI, by its mark", &[container("oci"), DOCKER], "none in docker"),
    ("OCI", &[container("oci")], "none in container-other"),
    ("a variable that is called nearly so", &[File(ENVIRON, "mycontainer=lxc\0")], "none"),
    ("Docker's mark", &[KVM, DOCKER], "kvm in docker"),
    ("Docker's old mark", &[File("/.dockerinit", "")], "none in docker"),
    ("Podman's mark", &[File("/run/.containerenv", "")], "none in podman"),
    ("an image that became a machine", &[KVM, Initial, DOCKER, File("/run/.containerenv", "")], "kvm"),
    ("Docker's group", &[Initial, File(CGROUP, "4:cpu:/docker/0123abcd\n")], "none in docker"),
    ("Docker's scope", &[File(CGROUP, "1:name=systemd:/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n")], "none in docker"),
    ("Podman's scope", &[File(CGROUP, "0::/machine.slice/libpod-77aa.scope\n")], "none in podman"),
    ("LXC's group", &[File(CGROUP, "4:cpu:/lxc/web\n")], "none in lxc"),
    ("Docker itself", &[Initial, File(CGROUP, "0::/system.slice/docker.service\n1:cpu:/docker-extra.scope\n2:pids:/docker\n")], "none"),
    ("a scope that is called nearly so", &[File(CGROUP, "0::/system.slice/docker-77aa.scope\n")], "none"),
    ("OpenVZ", &[Dir("/proc/vz")], "none in openvz"),
    ("OpenVZ's host", &[Dir("/proc/vz"), Dir("/proc/bc")], "none"),
    ("CloudLinux", &[Dir("/proc/vz"), Dir("/proc/lve")], "none"),
    ("PRoot", &[File("/proc/self/status", "TracerPid:\t71\n"), File("/proc/71/comm", "proot-x86\n")], "none in proot"),
    ("a debugger", &[File("/proc/self/status", "TracerPid:\t71\n"), File("/proc/71/comm", "gdb\n")], "none"),
    ("WSL 1", &[File("/proc/sys/kernel/osrelease", "4.4.0-19041-Microsoft\n")], "none in wsl"),
    ("WSL 2", &[MASK, WSL], "microsoft in wsl"),
    ("Docker in WSL 2", &[MASK, WSL, DOCKER], "microsoft in docker"),
    ("a kernel for Azure", &[MASK, File("/proc/sys/kernel/osrelease", "6.8.0-1017-azure-microsoft\n")], "microsoft"),
    ("a VServer", &[File("/proc/self/status", "VxID:\t7\n")], "none in container-other"),
    ("a VServer's host", &[File("/proc/self/status", "VxID:\t0\n")], "none"),
    ("some PID namespace", &[File("/proc/self/ns/pid", "pid:[4026532201]")], "none in container-other"),
    ("the first PID namespace", &[Initial, File("/proc/self/ns/pid", "pid:[4026531836]")], "none"),

    // Platforms.
    ("Nitro's bare cousin on x86", &[vendor("Amazon EC2"), product("z1d.metal")], "none on ec2"),
    ("EC2 on Xen by version", &[vendor("Xen"), Dmi("product_version", "4.11.amazon")], "xen on ec2"),
    ("EC2 on Xen by sysfs", &[XEN_TYPE, File("/sys/hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n")], "xen on ec2"),
    ("EC2 by UUID", &[KVM, Dmi("product_uuid", "EC2E1916")], "kvm on ec2"),
    ("EC2 by UUID, swapped, Xen", &[vendor("Xen"), Dmi("product_uuid", "16192EEC")], "xen on ec2"),
    ("a UUID like EC2's", &[KVM, vendor("QEMU"), Dmi("product_uuid", "ec2e1916")], "kvm"),
    ("Azure", &[MASK, vendor("Microsoft Corporation"), product("Virtual Machine"), tag("7783-7084-3265-9085-8269-3286-77")], "microsoft on azure"),
    ("Oracle's cloud", &[KVM, vendor("QEMU"), tag("OracleCloud.com")], "kvm on oci"),
    ("DigitalOcean", &[KVM, vendor("DigitalOcean"), product("Droplet")], "kvm on digitalocean"),
    ("Hetzner", &[ARM, vendor("Hetzner"), product("vServer"), Dmi("board_vendor", "KVM")], "kvm on hetzner"),
    ("UpCloud", &[KVM, vendor("UpCloud")], "kvm on upcloud"),
    ("Tencent", &[KVM, vendor("Tencent Cloud")], "kvm on tencent"),
    ("Vultr", &[KVM, vendor("Vultr")], "kvm on vultr"),
    ("Scaleway", &[KVM, vendor("Scaleway")], "kvm on scaleway"),
    ("Akamai", &[KVM, vendor("Akamai")], "kvm on akamai"),
    ("Linode", &[KVM, vendor("Linode")], "kvm on akamai"),
    ("NWCS", &[KVM, vendor("NWCS")], "kvm on nwcs"),
    ("Exoscale", &[KVM, vendor("Apache Software Foundation"), product("Exoscale Compute")], "kvm on exoscale"),
    ("CloudStack", &[KVM, product("CloudStack KVM Hypervisor")], "kvm on cloudstack"),
    ("CloudStack's maker", &[KVM, vendor("Apache Software Foundation")], "kvm on cloudstack"),
    ("CloudSigma", &[KVM, product("CloudSigma")], "kvm on cloudsigma"),
    ("CloudCIX", &[KVM, product("CloudCIX")], "kvm on cloudcix"),
    ("SmartOS", &[KVM, vendor("Joyent"), product("SmartDC HVM")], "kvm on smartos"),
    ("e24cloud", &[KVM, vendor("e24cloud")], "kvm on e24cloud"),
    ("Tilaa", &[KVM, vendor("Tilaa")], "kvm on tilaa"),
    ("Outscale", &[KVM, vendor("3DS Outscale"), product("3DS Outscale VM")], "kvm on outscale"),
    ("Outscale's other things", &[KVM, vendor("3DS Outscale"), product("Appliance")], "kvm"),
    ("ZStack", &[KVM, tag("42.zstack.io")], "kvm on zstack"),
    ("Brightbox", &[KVM, Dmi("product_serial", "*.gb1.brightbox.com")], "kvm on brightbox"),
    ("Huawei", &[KVM, product("OpenStack Nova"), tag("HUAWEICLOUD")], "kvm on huaweicloud"),
    ("Telekom", &[KVM, product("OpenStack Nova"), tag("OpenTelekomCloud")], "kvm on open-telekom"),
    ("SAP", &[Sig(0, b"VMwareVMware"), tag("SAP CCloud VM")], "vmware on sap-converged"),
    ("Samsung", &[KVM, tag("Samsung Cloud Platform")], "kvm on samsung"),
    ("Nova by its tag", &[KVM, product("a renamed one"), tag("OpenStack Compute")], "kvm on openstack"),
    ("OpenShift", &[KVM, product("OpenShift Virtualization")], "kvm on openshift-virtualization"),
    ("Deckhouse", &[KVM, vendor("Flant"), product("DeckhouseVirtualizationPlatform")], "kvm on deckhouse"),
    ("oVirt", &[KVM, vendor("oVirt"), product("oVirt Node")], "kvm on ovirt"),
    ("RHEV", &[KVM, vendor("Red Hat"), product("RHEV Hypervisor")], "kvm on rhev"),
    ("RHV", &[KVM, vendor("Red Hat"), Dmi("product_family", "RHV")], "kvm on rhev"),
    ("Veertu", &[HIDDEN, vendor("Veertu")], "vm-other on veertu"),
    ("Proxmox", &[KVM, vendor("QEMU"), Dmi("bios_vendor", "Proxmox distribution of EDK II")], "kvm on proxmox"),
    ("LXD", &[KVM, File("/sys/class/virtio-ports/vport2p1/name", "com.canonical.lxd\n")], "kvm on lxd"),
    ("LXD before its port", &[KVM, vendor("QEMU"), Dmi("board_name", "LXD")], "kvm on lxd"),
    ("early LXD", &[KVM, File("/sys/class/virtio-ports/vport2p1/name", "org.linuxcontainers.lxd\n")], "kvm on lxd"),
    ("Incus", &[KVM, File("/sys/class/virtio-ports/vport2p1/name", "org.linuxcontainers.incus\n"), File("/sys/class/virtio-ports/vport2p2/name", "org.linuxcontainers.lxd\n")], "kvm on incus"),
    ("cloud-hypervisor", &[Sig(0, b"Linux KVM Hv"), vendor("Cloud Hypervisor")], "kvm on cloud-hypervisor"),

    // Confidential guests.
    ("SEV", &[KVM, SEV], "kvm as sev"),
    ("SEV by its register", &[KVM, SEV, File(MSR, "0x1")], "kvm as sev"),
    ("SEV-ES", &[KVM, SEV, File(MSR, "0x3")], "kvm as sev-es"),
    ("SEV-SNP", &[KVM, SEV, File(MSR, "0x7")], "kvm as sev-snp"),
    ("SEV-SNP by its device", &[KVM, SEV, Dir("/dev/sev-guest")], "kvm as sev-snp"),
    ("a processor that could", &[KVM, SEV, File(MSR, "0x0")], "kvm"),
    ("a processor that could, bare", &[SEV], "none"),
    ("TDX", &[KVM, Leaf(0x21, [0, 0x6574_6e49, 0x2020_2020, 0x5844_546c])], "kvm as tdx"),
    ("TDX by its device", &[KVM, Dir("/dev/tdx_guest")], "kvm as tdx"),
    ("Hyper-V's SNP", &[MASK, Leaf(0x4000_0003, [0, 1 << 22, 0, 0]), Leaf(0x4000_000c, [0, 0x12, 0, 0])], "microsoft as sev-snp"),
    ("Hyper-V's TDX", &[MASK, Leaf(0x4000_0003, [0, 1 << 22, 0, 0]), Leaf(0x4000_000c, [0, 0x3, 0, 0])], "microsoft as tdx"),
    ("Hyper-V's root", &[MASK, Leaf(0x4000_0003, [0, 1 << 22 | 1 << 12, 0, 0]), Leaf(0x4000_000c, [0, 0x3, 0, 0])], "microsoft"),
    ("a guest of Ultravisor", &[Arch("s390x"), File("/proc/sysinfo", "VM00 Control Program: KVM/Linux\n"), File("/sys/firmware/uv/prot_virt_guest", "1\n")], "kvm as protvirt"),
    ("not a guest of Ultravisor", &[Arch("s390x"), File("/sys/firmware/uv/prot_virt_guest", "0\n")], "none"),
    ("a realm", &[ARM, product("KVM Virtual Machine"), Dir("/sys/devices/platform/arm-cca-dev")], "kvm as cca"),
];

#[test]
fn machines_are_told_apart() {
    for (what, clues, want) in MACHINES {
        let facts = facts(clues);
        let decided_by = facts.verdict().decided_by;
        assert_eq!(words(&Tables::KNOWN, &facts), *want, "{what}: decided by {decided_by}");
    }
}

/// Takes each row of these tables away in turn.
macro_rules! each_row_is_missed {
    ($($table:ident)*) => {$(
        for row in 0..Tables::KNOWN.$table.len() {
            let mut rows = Tables::KNOWN.$table.to_vec();
            let taken = rows.remove(row);
            let tables = Tables { $table: &rows, ..Tables::KNOWN };
            let missed = MACHINES.iter().any(|(_, clues, want)| words(&tables, &facts(clues)) != *want);
            assert!(missed, "no machine needs row {row} of {}: {taken:?}", stringify!($table));
        }
    )*};
}

#[test]
fn every_row_of_every_table_is_missed() {
    // Naming all fields, so that a table without its turn below does not compile.
    let Tables {
        signatures: _,
        dmi_pairs: _,
        dmi_prefixes: _,
        device_trees: _,
        acpi: _,
        pci: _,
        managers: _,
        marks: _,
        cgroups: _,
        releases: _,
        platforms: _,
        confidential: _,
    } = Tables::KNOWN;
    each_row_is_missed!(signatures dmi_pairs dmi_prefixes device_trees acpi pci);
    each_row_is_missed!(managers marks cgroups releases platforms confidential);
}

/// `OVF_SEEDS=DIRECTORY` keeps the texts, for the fuzzer to start from (tests/fuzz/seeds).
#[test]
#[expect(clippy::disallowed_methods, reason = "a test writes to a directory that its caller named")]
fn facts_survive_the_way_through_json() {
    let seeds = std::env::var_os("OVF_SEEDS");
    for (number, (what, clues, want)) in MACHINES.iter().enumerate() {
        let before = facts(clues);
        let text = serde_json::to_string(&before).expect("facts are plain data");
        if let Some(directory) = &seeds {
            fs::write(Path::new(directory).join(format!("machine-{number}")), &text).expect("a directory");
        }
        let after: Facts = serde_json::from_str(&text).expect(&text);
        assert_eq!(words(&Tables::KNOWN, &after), *want, "{what}");
        assert_eq!(before, after, "{what}");
    }
    assert!(serde_json::from_str::<Facts>(r#"{"cpu":1}"#).is_err(), "a misspelt key is not a fact");
}

/// Writes a machine down as a tree.
#[expect(clippy::disallowed_methods, reason = "a test makes the tree that sys::Root is opened on")]
fn lay_out(facts: &Facts, tree: &Path) {
    let make = |path: &str, text: &[u8]| {
        let path = tree.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        fs::write(&path, text).expect("write");
    };
    for (field, text) in &facts.dmi {
        make(&format!("/sys/class/dmi/id/{field}"), text.as_bytes());
    }
    if let Some(bit) = facts.smbios_vm_bit {
        let mut raw = [0; 0x1a];
        (raw[1], raw[0x13]) = (0x18, u8::from(bit) << 4);
        make("/sys/class/dmi/id/uevent", b"");
        make("/sys/firmware/dmi/entries/0-0/raw", &raw);
    }
    for dir in &facts.dirs {
        fs::create_dir_all(tree.join(dir.trim_start_matches('/'))).expect("mkdir");
    }
    let namespaces = tree.join("proc/self/ns");
    fs::create_dir_all(&namespaces).expect("mkdir");
    let cgroup = if facts.init_namespaces { "cgroup:[4026531835]" } else { "cgroup:[7]" };
    symlink(cgroup, namespaces.join("cgroup")).expect("symlink");
    for (path, text) in &facts.files {
        match path.strip_prefix("/proc/self/ns/") {
            Some(name) => symlink(text, namespaces.join(name)).expect("symlink"),
            None => make(path, &text.chars().map(|c| c as u8).collect::<Vec<_>>()),
        }
    }
}

#[test]
fn everything_that_the_rules_look_at_is_collected() {
    for (what, clues, want) in MACHINES {
        let given = facts(clues);
        let tree = tempfile::tempdir().expect("a scratch directory");
        lay_out(&given, tree.path());
        let mut read = Facts::read(&Root::open(tree.path()).expect("a directory"));
        // What a tree cannot hold: the processor, and its registers.
        (read.arch, read.hypervisor_bit, read.cpuid) = (given.arch, given.hypervisor_bit, given.cpuid);
        read.files.extend(given.files.get_key_value(MSR).map(|(path, text)| (path.clone(), text.clone())));
        assert_eq!(words(&Tables::KNOWN, &read), *want, "{what}: {read:?}");
    }
}

#[test]
fn facts_do_not_tell_more_than_they_must() {
    for serial in ["7Q1Z5Y1", "GoogleCloud-7Q1Z5Y1", "7Q1Z5Y1.gb1.brightbox.com"] {
        let tree = tempfile::tempdir().expect("a scratch directory");
        lay_out(
            &facts(&[
                KVM,
                Dmi("product_uuid", "4c4c4544-0031-4810-8052-b4c04f335931"),
                Dmi("product_serial", serial),
                File(ENVIRON, "TOKEN=hunter2\0container=lxc\0"),
                File("/run/.containerenv", "image=\"hunter2\"\n"),
                File("/proc/self/status", "Name:\thunter2\nTracerPid:\t0\n"),
                File(CPUINFO, "vendor_id\t: GenuineIntel\nflags\t\t: hunter2\n"),
            ]),
            tree.path(),
        );
        let read = Facts::read(&Root::open(tree.path()).expect("a directory"));
        let text = serde_json::to_string(&read).expect("facts are plain data");
        for secret in ["b4c04f335931", "7Q1Z5Y1", "hunter2"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        assert_eq!(read.verdict().container, Some("lxc"));
    }
}
