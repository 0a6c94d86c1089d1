//! Machines that say they are VMware's and are not: the agent asks for guestinfo there, and must come to no harm.
//!
//! QEMU imitates the backdoor port where it is told nothing else (`vmport`), and answers the questions of an exchange with
//! what the registers happen to hold, so asking goes wrong late; without it, early. What a real VMware answers cannot be
//! tried here.

use crate::Test;
use crate::appliance::{CONFIGURED, DOCUMENT, PARAMETERS, appliance, text};
use anyhow::{Context, Result};
use qemu_tests::{Bench, Connect, Drive, Machine, Vm};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("guestinfo: an imitation of VMware that answers is an error, and harmless", answers),
    ("guestinfo: an imitation of VMware that does not answer has nothing, and is harmless", silent),
    ("guestinfo: a machine that is not VMware's is not asked", not_vmware),
];

/// A guest whose SMBIOS says VMware, and whose processor says nothing; the document lies in its drive.
fn imitation(bench: &Bench<'_>, vmport: &str) -> Result<Vm> {
    let mut machine = Machine::with_disc(Drive::Ide, bench.environment(DOCUMENT)?)
        .option("-smbios", "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform")
        .option("-machine", format!("vmport={vmport}"));
    machine.cpu = "max,-hypervisor".to_owned();
    let mut vm = bench.boot(&machine, &appliance(PARAMETERS), Connect::Later)?;
    assert_eq!(vm.run("ovf-agent detect")?.trim(), "vmware", "the imitation is believed");
    Ok(vm)
}

/// Asks for guestinfo, as root or as another user; the exit status, and what was said.
fn ask(vm: &mut Vm, user: &str) -> Result<(i32, String)> {
    let command = "ovf-agent env --source guestinfo --log debug";
    let said =
        vm.run(&format!("status=0; su -s /bin/sh {user} -c '{command}' 2>&1 || status=$?; echo $status"))?;
    let (log, status) = said.trim_end().rsplit_once('\n').context("a log and a status")?;
    Ok((status.parse()?, log.to_owned()))
}

/// Asks, and expects an error that says all of `parts`.
fn refused(vm: &mut Vm, user: &str, parts: &[&str]) -> Result<()> {
    let (status, log) = ask(vm, user)?;
    assert_eq!(status, 1, "{user}: {log}");
    for part in parts {
        assert!(log.contains(part), "{user}: not said: {part}\n{log}");
    }
    Ok(())
}

/// The kernel has seen no program crash, nobody is left behind, and the document comes from the drive.
fn is_unharmed(vm: &mut Vm) -> Result<()> {
    let crashes = vm.run("dmesg | grep -E 'traps:|segfault|general protection|core dump' || true")?;
    assert_eq!(crashes, "", "what the kernel said");
    let left = vm.run("ps -o pid,stat,args | grep '[o]vf-agent' || true")?;
    assert_eq!(left, "", "processes of ours that are left");
    vm.run("ovf-agent apply")?;
    assert_eq!(text(vm, "/etc/mydb/mydb.conf")?, CONFIGURED);
    Ok(())
}

const CLOSED: &[&str] =
    &["iopl failed: Operation not permitted", "without privilege the processor refuses the port instruction"];

/// The kernel locked down as Secure Boot has it (kernel_lockdown(7)); there is no way back.
fn lock_down(vm: &mut Vm) -> Result<()> {
    let directory = "/sys/kernel/security";
    vm.run(&format!("mount -t securityfs none {directory} && echo integrity > {directory}/lockdown"))?;
    Ok(())
}

fn answers(bench: &Bench<'_>) -> Result<()> {
    let mut vm = imitation(bench, "on")?;
    refused(
        &mut vm,
        "root",
        &["cannot read guestinfo.ovfEnv by VMware's backdoor: reply too short (0 bytes)"],
    )?;
    refused(&mut vm, "mydb", CLOSED)?;
    lock_down(&mut vm)?;
    refused(&mut vm, "root", CLOSED)?;
    refused(&mut vm, "root", &["the kernel is locked down", "attach the environment as an ISO"])?;
    is_unharmed(&mut vm)
}

fn silent(bench: &Bench<'_>) -> Result<()> {
    let mut vm = imitation(bench, "off")?;
    refused(&mut vm, "root", &["no backdoor answers", "no OVF environment in guestinfo"])?;
    refused(&mut vm, "mydb", CLOSED)?;
    refused(&mut vm, "mydb", &["run as root with CAP_SYS_RAWIO"])?;
    is_unharmed(&mut vm)
}

fn not_vmware(bench: &Bench<'_>) -> Result<()> {
    let mut vm = bench.guest(None, Connect::Later)?;
    vm.put(&appliance(PARAMETERS))?;
    // The backdoor would answer here, too: `vmport` is on.
    for user in ["root", "mydb"] {
        refused(&mut vm, user, &["no OVF environment in guestinfo"])?;
        let (_, log) = ask(&mut vm, user)?;
        assert!(!log.contains("backdoor"), "it was asked: {log}");
    }
    Ok(())
}
