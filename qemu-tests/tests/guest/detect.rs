//! What the agent says of a machine beside what systemd-detect-virt says of it, in guests whose firmware and processor
//! pretend to be somebody's.
//!
//! The other program is Debian 12's, systemd 252; where it is known to be wrong, or a later one says something else,
//! the deviation and its reason stand in the table. Under emulation nobody can pretend to be another signature of
//! CPUID (QEMU ignores `hv-*` without KVM), nor a confidential guest: the facts files of the agent's own tests are for
//! these.

use crate::{Test, is_long};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};
use serde_json::{Value, json};
use std::fmt::Write;

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("detect: QEMU's machines have systemd's word, however much of them is hidden", |bench| all(bench, QEMU)),
    ("detect: desktop hypervisors have systemd's word", |bench| all(bench, DESKTOPS)),
    ("detect: server hypervisors have systemd's word", |bench| all(bench, SERVERS)),
    ("detect: clouds and products have systemd's word and a platform", |bench| all(bench, CLOUDS)),
    ("detect: makers of hypervisors make machines, too", |bench| all(bench, METAL)),
    ("detect: containers have systemd's word", containers),
];

/// Another word, and why.
type Deviation = Option<(&'static str, &'static str)>;

/// A machine that pretends.
struct Recipe {
    what: &'static str,
    /// Decides between `pc` (none) and `q35` (AHCI).
    drive: Drive,
    cpu: &'static str,
    options: &'static [(&'static str, &'static str)],
    /// The agent's word, and the platform if it has one: `kvm on nutanix`.
    want: &'static str,
    /// Systemd's word where it is another.
    systemd: Deviation,
    /// The agent's word for a user who may not read what root may, where it is another.
    user: Deviation,
}

/// QEMU's own, without a drive. As it is, it stands first among the containers.
const PLAIN: Recipe = Recipe {
    what: "",
    drive: Drive::None,
    cpu: "max",
    options: &[],
    want: "qemu",
    systemd: None,
    user: None,
};
/// Without the hypervisor bit: the processor looks like a real one.
const BIT_CLEAR: &str = "max,-hypervisor";
/// With the bit, but without a signature.
const HIDDEN: &str = "max,tcg-cpuid=off";

const SMBIOS: &str = "-smbios";
/// Somebody else's ACPI tables than QEMU's.
const ACPI: (&str, &str) = ("-machine", "x-oem-id=ALASKA,x-oem-table-id=A M I");
const DELL: (&str, &str) = (SMBIOS, "type=1,manufacturer=Dell Inc.,product=PowerEdge R650");
const ORACLE: &str = "type=1,manufacturer=Oracle Corporation,product=SUN FIRE X4270 M3";
const FADT_IS_ROOTS: &str = "only root may read the FADT, which says VBOX";

const QEMU: &[Recipe] = &[
    Recipe {
        what: "q35, in Oracle's cloud",
        drive: Drive::Ahci,
        options: &[(SMBIOS, "type=3,manufacturer=QEMU,asset=OracleCloud.com")],
        want: "qemu on oci",
        ..PLAIN
    },
    Recipe { what: "pc, the hypervisor bit clear", cpu: BIT_CLEAR, ..PLAIN },
    Recipe {
        what: "pc, no signature, LXD's board",
        cpu: HIDDEN,
        options: &[(SMBIOS, "type=2,manufacturer=Canonical Ltd.,product=LXD")],
        want: "qemu on lxd",
        ..PLAIN
    },
    Recipe {
        what: "pc, a borrowed name, KVM off: QEMU has both for KVM only; LXD's port",
        cpu: "max,kvm=off,hv-relaxed=on,hv-vendor-id=VMwareVMware",
        options: &[
            ("-chardev", "null,id=lxd"),
            ("-device", "virtserialport,chardev=lxd,name=com.canonical.lxd"),
        ],
        want: "qemu on lxd",
        ..PLAIN
    },
];

const DESKTOPS: &[Recipe] = &[
    Recipe {
        what: "VirtualBox",
        options: &[
            (SMBIOS, "type=0,vendor=innotek GmbH,version=VirtualBox"),
            (SMBIOS, "type=1,manufacturer=innotek GmbH,product=VirtualBox,version=1.2"),
            (SMBIOS, "type=2,manufacturer=Oracle Corporation,product=VirtualBox"),
        ],
        want: "oracle",
        ..PLAIN
    },
    Recipe {
        what: "VirtualBox in its host's dress",
        options: &[
            (SMBIOS, "type=1,manufacturer=LENOVO,product=20XW"),
            (SMBIOS, "type=2,manufacturer=Oracle Corporation,product=VirtualBox"),
        ],
        want: "oracle",
        ..PLAIN
    },
    Recipe {
        what: "VirtualBox by its ACPI tables alone",
        cpu: BIT_CLEAR,
        options: &[DELL, ("-machine", "x-oem-id=VBOX,x-oem-table-id=VBOXFACP")],
        want: "oracle",
        systemd: Some(("none", "it does not look at ACPI")),
        user: Some(("none", FADT_IS_ROOTS)),
        ..PLAIN
    },
    Recipe {
        what: "Parallels",
        options: &[
            (SMBIOS, "type=0,vendor=Parallels International GmbH."),
            (SMBIOS, "type=1,manufacturer=Parallels International GmbH.,product=Parallels Virtual Platform"),
        ],
        want: "parallels",
        ..PLAIN
    },
    Recipe {
        what: "a Mac's guest",
        cpu: BIT_CLEAR,
        options: &[(SMBIOS, "type=1,manufacturer=Apple Inc.,product=Apple Virtualization Generic Platform")],
        want: "apple",
        ..PLAIN
    },
];

const SERVERS: &[Recipe] = &[
    Recipe {
        what: "VMware",
        cpu: BIT_CLEAR,
        options: &[(SMBIOS, "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform")],
        want: "vmware",
        ..PLAIN
    },
    Recipe {
        what: "VMware's strings on a q35 that shows its signature",
        drive: Drive::Ahci,
        options: &[(SMBIOS, "type=1,manufacturer=VMware,, Inc.,product=VMware7,,1")],
        ..PLAIN
    },
    Recipe {
        what: "Hyper-V, generation 2",
        cpu: HIDDEN,
        options: &[
            (SMBIOS, "type=0,vendor=Microsoft Corporation,version=Hyper-V UEFI Release v4.1"),
            (
                SMBIOS,
                "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine,version=Hyper-V UEFI Release v4.1",
            ),
        ],
        want: "microsoft",
        ..PLAIN
    },
    Recipe {
        what: "Xen as EC2 had it",
        options: &[
            (SMBIOS, "type=0,vendor=Xen,version=4.11.amazon"),
            (SMBIOS, "type=1,manufacturer=Xen,product=HVM domU,version=4.11.amazon"),
        ],
        want: "xen on ec2",
        ..PLAIN
    },
    Recipe {
        what: "bhyve",
        cpu: HIDDEN,
        options: &[(SMBIOS, "type=0,vendor=BHYVE"), (SMBIOS, "type=1,manufacturer= ,product=BHYVE")],
        want: "bhyve",
        ..PLAIN
    },
];

const CLOUDS: &[Recipe] = &[
    Recipe {
        what: "Azure, generation 1",
        cpu: HIDDEN,
        options: &[
            (SMBIOS, "type=0,vendor=American Megatrends Inc.,version=090008"),
            (SMBIOS, "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine,version=7.0"),
            (SMBIOS, "type=3,manufacturer=Microsoft Corporation,asset=7783-7084-3265-9085-8269-3286-77"),
        ],
        want: "microsoft on azure",
        systemd: Some(("vm-other", "it knows generation 2's version only, and CPUID, which is hidden here")),
        ..PLAIN
    },
    Recipe {
        what: "EC2 on Nitro",
        options: &[
            (SMBIOS, "type=0,vendor=Amazon EC2,version=1.0"),
            (SMBIOS, "type=1,manufacturer=Amazon EC2,product=m5.large"),
        ],
        want: "amazon on ec2",
        ..PLAIN
    },
    Recipe {
        what: "Google's strings on emulation",
        options: &[
            (SMBIOS, "type=0,vendor=Google,version=Google"),
            (SMBIOS, "type=1,manufacturer=Google,product=Google Compute Engine"),
        ],
        want: "qemu on gce",
        systemd: Some(("google", "252 believes the strings, as 262 does with KVM's signature only")),
        ..PLAIN
    },
    Recipe {
        what: "AHV without a signature",
        cpu: HIDDEN,
        options: &[(SMBIOS, "type=1,manufacturer=Nutanix,product=AHV")],
        want: "kvm on nutanix",
        systemd: Some(("vm-other", "it does not know AHV, which uyuni#2112 saw behind Hyper-V's signature")),
        ..PLAIN
    },
    Recipe {
        what: "Huawei's OpenStack without a signature",
        cpu: HIDDEN,
        options: &[
            (SMBIOS, "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova"),
            (SMBIOS, "type=3,asset=HUAWEICLOUD"),
        ],
        want: "kvm on huaweicloud",
        ..PLAIN
    },
];

const METAL: &[Recipe] = &[
    Recipe { what: "a server", cpu: BIT_CLEAR, options: &[DELL, ACPI], want: "none", ..PLAIN },
    Recipe {
        what: "the bit of SMBIOS",
        cpu: BIT_CLEAR,
        options: &[DELL, ACPI, (SMBIOS, "type=0,vendor=Dell Inc.")],
        want: "vm-other",
        user: Some(("none", "only root may read the table with the bit")),
        ..PLAIN
    },
    Recipe {
        what: "Oracle's server",
        cpu: BIT_CLEAR,
        options: &[(SMBIOS, ORACLE), (SMBIOS, "type=2,manufacturer=Oracle Corporation,product=ASM"), ACPI],
        want: "none",
        systemd: Some((
            "oracle",
            "systemd#21100: VirtualBox' board has its maker's name, and so have servers",
        )),
        ..PLAIN
    },
    Recipe {
        what: "EC2's bare metal",
        cpu: BIT_CLEAR,
        options: &[(SMBIOS, "type=1,manufacturer=Amazon EC2,product=m5.metal"), ACPI],
        want: "none on ec2",
        ..PLAIN
    },
    Recipe {
        what: "Google's bare metal",
        cpu: BIT_CLEAR,
        options: &[(SMBIOS, "type=1,manufacturer=Google,product=Google Compute Engine"), ACPI],
        want: "none on gce",
        systemd: Some(("google", "252 believes the strings; 262 says none")),
        ..PLAIN
    },
];

/// Boots them one after the other, and tells of all that differ from what the table says.
fn all(bench: &Bench<'_>, recipes: &[Recipe]) -> Result<()> {
    let programs = bench.program("systemd-detect-virt")?;
    let mut wrong = String::new();
    // Each is a boot. The rules themselves are tried without one (agent/src/detect/tests.rs).
    let recipes = if is_long() { recipes } else { &recipes[..2] };
    for recipe in recipes {
        let answers = boot(bench, recipe, &programs)
            .and_then(|mut vm| Answers::of(&mut vm))
            .with_context(|| recipe.what.to_owned())?;
        for (who, want, got) in answers.compared(recipe) {
            if want != got {
                writeln!(wrong, "{}: {who} says {got}, not {want}; {}", recipe.what, answers.json)?;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    bench.measured(format!("{} machines", recipes.len()));
    Ok(())
}

fn boot(bench: &Bench<'_>, recipe: &Recipe, programs: &Files) -> Result<Vm> {
    let mut machine = Machine { cpu: recipe.cpu.to_owned(), ..Machine::from(recipe.drive) };
    for (name, value) in recipe.options {
        machine = machine.option(name, *value);
    }
    bench.boot(&machine, programs, Connect::Later)
}

/// What is said of a machine, by whom.
#[derive(Debug)]
struct Answers {
    systemd: String,
    systemd_vm: String,
    systemd_container: String,
    agent: String,
    user: String,
    json: Value,
    /// The same again, from the facts alone.
    again: Value,
}

impl Answers {
    fn of(vm: &mut Vm) -> Result<Answers> {
        Ok(Answers {
            systemd: systemd(vm, "")?,
            systemd_vm: systemd(vm, "--vm")?,
            systemd_container: systemd(vm, "--container")?,
            agent: vm.run("ovf-agent detect")?.trim().to_owned(),
            user: vm.run("su -s /bin/sh mydb -c 'ovf-agent detect'")?.trim().to_owned(),
            json: serde_json::from_str(&vm.run("ovf-agent detect --json | tee /tmp/facts")?)?,
            again: serde_json::from_str(&vm.run("ovf-agent detect --json --facts /tmp/facts")?)?,
        })
    }

    /// Who, what the table has, and what was said. None of these machines is a container or confidential.
    fn compared(&self, recipe: &Recipe) -> Vec<(&'static str, Value, Value)> {
        let (word, platform) = match recipe.want.split_once(" on ") {
            Some((word, platform)) => (word, Some(platform)),
            None => (recipe.want, None),
        };
        let systemd = recipe.systemd.map_or(word, |(word, _)| word);
        let user = recipe.user.map_or(word, |(word, _)| word);
        let fields = ["vm", "container", "platform", "confidential"].map(|name| self.json[name].clone());
        vec![
            ("systemd-detect-virt", json!(systemd), json!(self.systemd)),
            ("systemd-detect-virt --vm", json!(systemd), json!(self.systemd_vm)),
            ("systemd-detect-virt --container", json!("none"), json!(self.systemd_container)),
            ("ovf-agent detect", json!(word), json!(self.agent)),
            ("ovf-agent detect by a user", json!(user), json!(self.user)),
            ("ovf-agent detect --json", json!([word, null, platform, null]), json!(fields)),
            ("ovf-agent detect --facts", self.json.clone(), self.again.clone()),
        ]
    }
}

/// Systemd's word. Its status is 1 where the word is `none`, and nothing else.
fn systemd(vm: &mut Vm, option: &str) -> Result<String> {
    let output = vm.sh(&format!("systemd-detect-virt {option}"))?;
    let word = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(output.status, i32::from(word == "none"), "{word:?}: {output:?}");
    Ok(word)
}

/// What is done, with `DETECT` where both programs run; the agent's word, and systemd's where it is another.
#[rustfmt::skip] // a table
const CONTAINERS: &[(&str, &str, Deviation)] = &[
    ("DETECT", "qemu", None),
    ("touch /.dockerenv; DETECT; rm /.dockerenv", "qemu",
        Some(("docker", "it takes a machine that was made from a container's image for a container"))),
    ("unshare -pfm sh -c 'mount -t proc proc /proc; touch /.dockerenv; DETECT; rm /.dockerenv'", "docker", None),
    ("unshare -pfm sh -c 'mount -t proc proc /proc; DETECT'", "container-other",
        Some(("qemu", "252 does not look at the PID namespace, as 262 does"))),
    ("unshare -pfm env container=lxc sh -c 'mount -t proc proc /proc; DETECT; :'", "lxc", None),
    ("unshare -pfm env container=openvz sh -c 'mount -t proc proc /proc; DETECT; :'", "container-other", None),
    ("unshare -pfm env container=oci sh -c 'mount -t proc proc /proc; DETECT; :'", "container-other", None),
    ("unshare -pfm env container=lxc sh -c 'mount -t proc proc /proc; su -s /bin/sh mydb -c \"DETECT\"; :'", "container-other",
        Some(("qemu", "neither may read PID 1's environment, and 252 does not look at the PID namespace"))),
    ("mkdir /run/systemd; echo podman > /run/systemd/container; DETECT; rm -r /run/systemd", "podman", None),
    ("mkdir /run/host; echo systemd-nspawn > /run/host/container-manager; DETECT; rm -r /run/host", "systemd-nspawn", None),
    ("mkdir /tmp/proc; mount -t proc proc /tmp/proc; mount --bind / /mnt; mount --bind /proc /mnt/proc; mount --bind /sys /mnt/sys; \
      chroot /mnt sh -c 'DETECT'", "qemu", None),
];

fn containers(bench: &Bench<'_>) -> Result<()> {
    let programs = bench.program("systemd-detect-virt")?.with_directory("/mnt");
    let mut vm = bench.boot(&Machine::from(Drive::None), &programs, Connect::Later)?;
    for (script, want, other) in CONTAINERS {
        let output = vm.run(&script.replace("DETECT", "ovf-agent detect; systemd-detect-virt"))?;
        let words: Vec<&str> = output.split_whitespace().collect();
        assert_eq!(words, [*want, other.map_or(*want, |(word, _)| word)], "{script}");
    }
    Ok(())
}
