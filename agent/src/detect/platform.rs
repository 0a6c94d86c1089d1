//! What runs on top of the hypervisor: a cloud, or a product that manages virtual machines.
//!
//! Decides its name, from strings that it writes for its guests to find. Does not decide whether this is a virtual
//! machine: some clouds rent out bare metal with the same strings.
//!
//! Sources: cloud-init's `ds-identify`, virt-what, and the platforms' own documents as noted.

#![forbid(unsafe_code)]

use super::Match::{self, Ends, Is, Starts};
use super::cpuid::{FIRST, name};
use super::{Facts, Tables, firmware};

/// A name, and the clues that must all hold.
pub(super) type Platform = (&'static str, &'static [(Key, Text)]);

/// Where to look.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    /// A field of DMI.
    Dmi(&'static str),
    /// A file.
    File(&'static str),
    /// The names of virtio-serial ports.
    Port,
    /// The signature in this leaf of CPUID.
    Signature(u32),
    /// The table's writer or hypervisor in ACPI's FADT, at this offset.
    Fadt(usize),
}

/// What to see there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    Plain(Match),
    /// A UUID of Amazon's: begins with ec2, or would if its first group had not been swapped.
    Ec2Uuid,
}
use Key::{Dmi, Fadt, File, Port, Signature};
use Text::{Ec2Uuid, Plain};

const VENDOR: Key = Dmi("sys_vendor");
const PRODUCT: Key = Dmi("product_name");
const VERSION: Key = Dmi("product_version");
const TAG: Key = Dmi("chassis_asset_tag");
const UUID: Key = Dmi("product_uuid");

/// The first that fits is taken: what is built with something stands before it.
pub(super) const PLATFORMS: &[Platform] = &[
    ("ec2", &[(VENDOR, Plain(Is("Amazon EC2")))]), // virt-what: Nitro and bare metal
    ("ec2", &[(VERSION, Plain(Ends(".amazon")))]), // Xen, as root or not
    ("ec2", &[(File("/sys/hypervisor/uuid"), Ec2Uuid)]), // Xen without DMI
    ("gce", &[(PRODUCT, Plain(Is("Google Compute Engine")))]), // cloud-init, from here to smartos
    ("gce", &[(Dmi("product_serial"), Plain(Starts(GOOGLE_SERIAL)))]), // where the product has another name
    ("azure", &[(TAG, Plain(Is("7783-7084-3265-9085-8269-3286-77")))]),
    ("oci", &[(TAG, Plain(Is("OracleCloud.com")))]),
    ("alibaba", &[(PRODUCT, Plain(Is("Alibaba Cloud ECS")))]),
    ("digitalocean", &[(VENDOR, Plain(Is("DigitalOcean")))]),
    ("hetzner", &[(VENDOR, Plain(Is("Hetzner")))]),
    ("upcloud", &[(VENDOR, Plain(Is("UpCloud")))]),
    ("tencent", &[(VENDOR, Plain(Starts("Tencent")))]), // guests' own logs; cloud-init does not look for it
    ("vultr", &[(VENDOR, Plain(Is("Vultr")))]),
    ("scaleway", &[(VENDOR, Plain(Is("Scaleway")))]),
    ("akamai", &[(VENDOR, Plain(Is("Akamai")))]),
    ("akamai", &[(VENDOR, Plain(Is("Linode")))]), // before it was Akamai's
    ("nwcs", &[(VENDOR, Plain(Is("NWCS")))]),
    ("exoscale", &[(PRODUCT, Plain(Starts("Exoscale")))]), // before CloudStack, which it is
    ("cloudstack", &[(PRODUCT, Plain(Starts("CloudStack")))]),
    ("cloudstack", &[(VENDOR, Plain(Is("Apache Software Foundation")))]), // landscape-client
    ("cloudsigma", &[(PRODUCT, Plain(Is("CloudSigma")))]),
    ("cloudcix", &[(PRODUCT, Plain(Is("CloudCIX")))]),
    ("smartos", &[(PRODUCT, Plain(Starts("SmartDC")))]),
    ("e24cloud", &[(VENDOR, Plain(Is("e24cloud")))]), // cloud-init's imitators of EC2, down to brightbox
    ("tilaa", &[(VENDOR, Plain(Is("Tilaa")))]),
    ("outscale", &[(VENDOR, Plain(Is("3DS Outscale"))), (PRODUCT, Plain(Starts("3DS Outscale VM")))]),
    ("zstack", &[(TAG, Plain(Ends(".zstack.io")))]),
    ("brightbox", &[(Dmi("product_serial"), Plain(Ends(SERIAL_DOMAIN)))]),
    ("huaweicloud", &[(TAG, Plain(Is("HUAWEICLOUD")))]), // cloud-init's OpenStack clouds
    ("open-telekom", &[(TAG, Plain(Is("OpenTelekomCloud")))]),
    ("sap-converged", &[(TAG, Plain(Is("SAP CCloud VM")))]),
    ("samsung", &[(TAG, Plain(Is("Samsung Cloud Platform")))]),
    ("openstack", &[(PRODUCT, Plain(Starts("OpenStack")))]), // Nova, or Compute by RDO (LP#1675349)
    ("openstack", &[(TAG, Plain(Starts("OpenStack")))]),     // where the product was renamed (LP#1669875)
    ("nutanix", &[(VENDOR, Plain(Is("Nutanix"))), (PRODUCT, Plain(Is("AHV")))]), // virt-what; its machines say NX-...
    ("openshift-virtualization", &[(PRODUCT, Plain(Is("OpenShift Virtualization")))]), // a KubeVirt; no public dump
    ("kubevirt", &[(VENDOR, Plain(Is("KubeVirt")))]),                                  // systemd#24143
    ("deckhouse", &[(PRODUCT, Plain(Is("DeckhouseVirtualizationPlatform")))]), // another; no public dump
    ("ovirt", &[(VENDOR, Plain(Is("oVirt")))]),                                // virt-what
    ("rhev", &[(PRODUCT, Plain(Is("RHEV Hypervisor")))]),                      // virt-what
    ("rhev", &[(Dmi("product_family"), Plain(Is("RHV")))]),                    // its name from version 4 on
    ("veertu", &[(VENDOR, Plain(Starts("Veertu")))]),                          // ohai, mixin/dmi_decode.rb
    ("proxmox", &[(Dmi("bios_vendor"), Plain(Starts("Proxmox")))]), // its build of EDK II; SeaBIOS says nothing
    // Incus and LXD, driver_qemu_templates.go. Incus has LXD's old port as well, and so stands first.
    ("incus", &[(Port, Plain(Is("org.linuxcontainers.incus")))]),
    ("lxd", &[(Port, Plain(Is("com.canonical.lxd")))]),
    ("lxd", &[(Port, Plain(Is("org.linuxcontainers.lxd")))]),
    ("lxd", &[(Dmi("board_name"), Plain(Is("LXD")))]), // cloud-init: there before the port's driver is
    ("cloud-hypervisor", &[(VENDOR, Plain(Is("Cloud Hypervisor")))]), // arch/src/x86_64/smbios.rs
    ("cloud-hypervisor", &[(Fadt(10), Plain(Is("CLOUDH")))]), // vmm/src/acpi.rs
    ("firecracker", &[(Fadt(10), Plain(Is("FIRECK")))]), // it has no DMI
    ("kvmtool", &[(Signature(0), Plain(Is("LKVMLKVMLKVM")))]), // x86/cpuid.c, formerly: as the processor's vendor
    ("kvmtool", &[(Signature(FIRST), Plain(Is("LKVMLKVMLKVM")))]), // virt-what
    // One UUID in two thousand looks like Amazon's, so these count only where nobody else has written anything.
    ("ec2", &[(UUID, Ec2Uuid), (VENDOR, Plain(Is("")))]),
    ("ec2", &[(UUID, Ec2Uuid), (VENDOR, Plain(Is("Xen")))]),
];

/// All that may be told of a serial number: how it ends, or begins.
pub(super) const SERIAL_DOMAIN: &str = ".brightbox.com";
pub(super) const GOOGLE_SERIAL: &str = "GoogleCloud-";
/// Where the ports' names are, and the file's name in each.
pub(super) const PORTS: &str = "/sys/class/virtio-ports";

impl Tables<'_> {
    /// The platform's name.
    pub(super) fn platform(&self, facts: &Facts) -> Option<&'static str> {
        let holds = |(key, text): &(Key, Text)| text.holds(*key, facts);
        self.platforms.iter().find(|(_, clues)| clues.iter().all(holds)).map(|(name, _)| *name)
    }
}

impl Text {
    fn holds(self, key: Key, facts: &Facts) -> bool {
        let said = |text: &str| match self {
            Plain(form) => form.holds(text),
            Ec2Uuid => is_ec2(text),
        };
        match key {
            Dmi(field) => said(facts.dmi(field)),
            File(path) => facts.file(path).is_some_and(said),
            Port => facts.files.iter().any(|(path, name)| path.starts_with(PORTS) && said(name.trim_end())),
            Signature(leaf) => facts.leaf(leaf).is_some_and(|registers| {
                facts.hypervisor_bit == Some(true) && str::from_utf8(&name(registers)).is_ok_and(said)
            }),
            Fadt(at) => facts
                .files
                .get(firmware::FADT)
                .is_some_and(|table| said(&table.chars().skip(at).take(6).collect::<String>())),
        }
    }
}

/// Amazon's UUIDs, of which firmware may have swapped the first group's bytes: `ec2abcde` or `cdabc2ec` — the rule of
/// cloud-init's ds-identify.
fn is_ec2(uuid: &str) -> bool {
    let group = uuid.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let swapped = matches!(group.as_bytes(), [_, _, _, _, b'2', _, b'e', b'c']);
    group.starts_with("ec2") || swapped
}
