//! Which labels the files of a pass have, in a Debian whose kernel enforces SELinux: by the policy of Debian's own
//! `selinux-policy-default`, and judged by its own `restorecon`. One boot for all of it.

use crate::Test;
use crate::appliance::{DOCUMENT, PARAMETERS, soon, text};
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Drive, Files, Machine, Vm};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[(
    "selinux: a new file has the policy's label, a replaced one keeps its own, and their staged twins have no other",
    labels,
)];

/// Files that no pass has written yet, and their labels by the policy. Each tells one way to find it from another.
const NEW: &[(&str, &str)] = &[
    ("/etc/mydb/mydb.conf", "system_u:object_r:etc_t:s0"),
    (UNLABELLED, "system_u:object_r:etc_t:s0"),
    // Not those of their directories.
    ("/etc/resolv.conf", "system_u:object_r:net_conf_t:s0"),
    (SHADOW, "system_u:object_r:shadow_t:s0"),
    ("/etc/systemd/system/mydb.service", "system_u:object_r:systemd_unit_t:s0"),
    ("/root/.ssh/authorized_keys", "unconfined_u:object_r:ssh_home_t:s0"),
    // A directory of this path has another.
    ("/etc/libvirt/mydb.conf", "system_u:object_r:virt_etc_t:s0"),
];

/// A new file that is no secret any more where its label is not the policy's.
const SHADOW: &str = "/etc/shadow.mydb";

/// Files that somebody has labelled otherwise.
const REPLACED: &[(&str, &str)] = &[
    ("/etc/mydb/own", "system_u:object_r:etc_runtime_t:s0"),
    ("/etc/mydb/secret", "system_u:object_r:shadow_t:s0:c1,c2"),
];

/// One that nobody has labelled, which is no label to keep.
const UNLABELLED: &str = "/etc/mydb/unlabelled";

/// Files for which nobody has a label: one of a path that the policy leaves to the directory, two on a file system whose
/// mount says the label of all that is on it.
const OTHERS: &[(&str, &str)] = &[
    ("/run/mydb/mydb.conf", "system_u:object_r:initrc_runtime_t:s0"),
    ("/mnt/mydb.conf", "system_u:object_r:usr_t:s0"),
    ("/mnt/old.conf", "system_u:object_r:usr_t:s0"),
];

/// Says which label the staged file has, at a place where programs that judge may write.
const LOOK: &str = "#!/bin/sh\nstat -c '%n %C' \"$1\" >> /run/looked\n";

/// What is in each file.
const CONTENT: &str = "ip = 10.20.132.102\n";

/// Has the kernel record when the agent labels a file, writes it and gives it its mode, which is the end of each.
const RECORD: &str = "mount -t tracefs none /sys/kernel/tracing && cd /sys/kernel/tracing &&
    echo 'comm == \"ovf-agent\"' > events/syscalls/filter &&
    for call in fsetxattr write fchmod; do echo 1 > events/syscalls/sys_enter_$call/enable; done";

/// The smallest unit of the agent.
const UNIT: &str = "[Service]\nType=exec\nExecStart=/usr/bin/ovf-agent run\n";

fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    NEW.iter().chain(REPLACED).chain(OTHERS)
}

fn files() -> Files {
    let mut files = Files::new()
        .with("/etc/ovf-agent/agent.toml", PARAMETERS)
        .with("/etc/systemd/system/ovf-agent.service", UNIT)
        .with_program("/usr/local/bin/look", LOOK)
        .with_directory("/etc/libvirt");
    for (path, _) in all() {
        let name = path.replace('/', "-");
        let rules = "mode = \"0600\"\nescape = \"ini\"\ncheck = [\"/usr/local/bin/look\", \"{}\"]";
        let template = format!("+++\npath = \"{path}\"\n{rules}\n+++\nip = {{{{ ip }}}}\n");
        files = files.with(&format!("/etc/ovf-agent/templates/{name}.tera"), template);
    }
    REPLACED.iter().fold(files.with(UNLABELLED, "old\n"), |files, (path, _)| files.with(path, "old\n"))
}

fn labels(bench: &Bench<'_>) -> Result<()> {
    let machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?);
    // It boots without force: the files of an overlay are opened in the name of the kernel, which no policy expects.
    let machine = machine.kernel("security=selinux selinux=1 enforcing=0");
    let mut vm = bench.boot_debian(&machine, &files(), Connect::BeforeBoot)?;
    vm.booted()?;
    let wrong = vm.run("restorecon -F -R -n -v /etc /root /usr/sbin /var/cache /var/lib/systemd")?;
    ensure!(wrong.is_empty(), "the guest itself is not as its policy wants it:\n{wrong}");
    vm.run(
        "mkdir /run/mydb; mount -t tmpfs -o context=system_u:object_r:usr_t:s0 none /mnt; echo old > /mnt/old.conf",
    )?;
    vm.run(RECORD)?;
    for (path, label) in REPLACED.iter().chain([&(UNLABELLED, "system_u:object_r:unlabeled_t:s0")]) {
        vm.run(&format!("chcon {label} {path}"))?;
    }

    // From here on it is a guest as any other, and the agent a service as any other.
    vm.run("setenforce 1 && systemctl start ovf-agent")?;
    let report = vm.report(|report| report.ready || report.failure.is_some(), soon())?.report;
    ensure!(report.ready, "{report}");
    let main = "systemctl show --value --property MainPID ovf-agent";
    let domain =
        vm.run(&format!("[ $(getenforce) = Enforcing ] && tr -d '\\0' < /proc/$({main})/attr/current"))?;
    bench.measured(format!("as {domain}"));
    // The programs of the policy are confined: they could not tell us what they find.
    vm.run("systemctl stop ovf-agent; setenforce 0")?;
    labelled_first(&mut vm)?;
    judge(&mut vm)?;
    let time =
        vm.run("bash -c 'TIMEFORMAT=%R; time matchpathcon -n -m file /etc/resolv.conf > /run/out' 2>&1")?;
    bench.measured(format!("matchpathcon {} s", time.trim()));
    without_the_tool(&mut vm)?;
    denied(&mut vm)
}

/// Each file is labelled right before its content is written, but for the one that has no label of its own.
fn labelled_first(vm: &mut Vm) -> Result<()> {
    let trace = vm.run("cat /sys/kernel/tracing/trace")?;
    let calls: Vec<_> =
        trace.lines().filter_map(|line| line.split_once(": sys_")).map(|(_, call)| call).collect();
    let fd = |call: &str| {
        call.split_once("(fd: ").and_then(|(_, rest)| rest.split_once(',')).map(|(fd, _)| fd.to_owned())
    };
    let count = format!("count: {:x})", CONTENT.len());
    let is_labelled = |pair: &&[&str]| pair[0].starts_with("fsetxattr(") && fd(pair[0]) == fd(pair[1]);
    let written = |pair: &&[&str]| pair[1].starts_with("write(") && pair[1].ends_with(&count);
    let (written, labelled) = (
        calls.windows(2).filter(written).count(),
        calls.windows(2).filter(written).filter(is_labelled).count(),
    );
    ensure!(
        (written, labelled) == (all().count(), all().count() - 1),
        "{written} files, {labelled} labelled:\n{trace}"
    );
    Ok(())
}

/// All files have what they should, and had it when they were judged.
fn judge(vm: &mut Vm) -> Result<()> {
    let looked = text(vm, "/run/looked")?;
    for (path, want) in all() {
        ensure!(text(vm, path)? == CONTENT, "{path} is not written");
        let label = vm.run(&format!("stat -c %C {path}"))?;
        ensure!(label.trim_end() == *want, "{path} has {label}instead of {want}");
        let (directory, name) = path.rsplit_once('/').context("an absolute path")?;
        let is_twin = |line: &&str| {
            line.starts_with(&format!("{directory}/.#ovf-agent.")) && line.contains(&format!(".{name} "))
        };
        let twin = looked.lines().find(is_twin).with_context(|| format!("no check of {path}:\n{looked}"))?;
        ensure!(twin.ends_with(&format!(" {want}")), "{path} was staged as {twin} instead of {want}");
    }
    let paths =
        |files: &[(&'static str, &str)]| files.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(" ");
    let said = vm.run(&format!("restorecon -F -n -v {}", paths(NEW)))?;
    ensure!(said.is_empty(), "restorecon has something to do: {said}");
    let said = vm.run(&format!("restorecon -F -n -v {}", paths(REPLACED)))?;
    ensure!(said.matches("Would relabel").count() == REPLACED.len(), "and it says so where it has: {said}");

    let denied = vm.run("dmesg | grep avc:")?;
    let ours =
        |line: &&str| ["ovf-agent", "matchpathcon", "look", "stat"].iter().any(|name| line.contains(name));
    let ours: Vec<_> = denied.lines().filter(ours).collect();
    ensure!(ours.is_empty(), "the policy denies us something: {ours:?}");
    Ok(())
}

/// The kernel chooses a new file's label then, and a warning says what is missing; the pass is none the worse.
fn without_the_tool(vm: &mut Vm) -> Result<()> {
    vm.run("mv /usr/sbin/matchpathcon /root/")?;
    let new: String = NEW.iter().map(|(path, _)| format!(" {path}")).collect();
    let said = vm.run(&format!("rm{new} /etc/mydb/own; ovf-agent apply --log warn 2>&1"))?;
    let missing = "there is no /usr/sbin/matchpathcon";
    ensure!(said.matches(missing).count() == 1, "said once, whatever the number of files: {said}");
    ensure!(said.contains("install the package selinux-utils"), "with the remedy: {said}");
    let wrong = vm.run(&format!("restorecon -F -n -v {SHADOW}"))?;
    ensure!(wrong.contains("Would relabel"), "restorecon mends it: {wrong}");
    Ok(())
}

/// A label that only processes may have: no policy lets a file be made with it.
fn denied(vm: &mut Vm) -> Result<()> {
    let processes = "system_u:object_r:init_t:s0";
    vm.run(&format!(
        "echo old | tee /etc/mydb/own /etc/mydb/secret; chcon {processes} /etc/mydb/secret; setenforce 1"
    ))?;
    let said = vm.run("! ovf-agent apply --log warn 2>&1")?;
    for part in
        ["cannot set the SELinux label of /etc/mydb/secret", "a security module, such as SELinux, denies it"]
    {
        ensure!(said.contains(part), "not said: {part}\n{said}");
    }
    let left = vm.run("cat /etc/mydb/own /etc/mydb/secret; ls -A /etc/mydb | grep ovf-agent || true")?;
    ensure!(left == "old\nold\n", "nothing was changed, and nothing is left behind: {left}");
    Ok(())
}
