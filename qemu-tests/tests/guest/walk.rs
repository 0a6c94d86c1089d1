//! A package as the platform's half deploys it, and a guest that is configured by it: `docs/deploying.md`, to its end.
//!
//! What `ovf-host` writes onto a disc is tried without a VM by `host/tests/discs.rs`; here by who is there for it, the kernel and the agent.

use crate::Test;
use crate::appliance::{soon, start_agent};
use crate::docs::console::{self, Answers, Command, agrees};
use crate::docs::desk::Desk;
use crate::docs::markdown::{self, Page, Place};
use crate::docs::top;
use anyhow::{Context, Result, ensure};
use qemu_tests::{Bench, Connect, Files, Vm};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[(
    "walk: a disc of ovf-host's is read by the kernel and by the agent, with all of its files, and makes a guest ready",
    deployed,
)];

const PAGE: &str = "docs/deploying.md";
const QEMU: &str = "qemu-system-x86_64 ";
const HERE: &str = "qemu-tests/tests/guest/walk.rs";

/// A machine whose package has files for it, one of them with a name that plain ISO 9660 has no room for.
const WITH_FILES: &str = r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/2" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/2"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References>
    <File ovf:id="rules" ovf:href="rules.conf"/>
    <File ovf:id="setup" ovf:href="setup.sh"/>
  </References>
  <VirtualSystem ovf:id="DB1">
    <Info>A database</Info>
    <EnvironmentFilesSection>
      <Info>What it is set up by</Info>
      <File ovf:fileRef="rules" ovf:path="setup/A longer name than ISO 9660 has, größer.conf"/>
      <File ovf:fileRef="setup" ovf:path="setup/run.sh"/>
    </EnvironmentFilesSection>
    <VirtualHardwareSection ovf:transport="iso">
      <Info>A drive for them</Info>
      <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#;

fn deployed(bench: &Bench<'_>) -> Result<()> {
    let page = markdown::pages(&top()).into_iter().find(|page| page.name == PAGE).context("no such page")?;
    let products = bench.products()?;
    let products: Vec<(&str, &Path)> = products.iter().map(|(name, path)| (*name, path.as_path())).collect();
    let mut desk = Desk::new(&top(), &products);
    followed(&page, &mut desk)?;
    accepted(&page, &mut desk)?;

    let mut vm = bench.guest(Some(&desk.path("discs/DB1.iso")), Connect::Later)?;
    symlink(vm.host.socket(), desk.path("ovf.sock"))?;
    let petstore = top().join("examples/petstore");
    vm.put(
        &Files::new()
            .with_tree(&petstore.join("agent"))?
            .below("/etc/ovf-agent")
            .with_program("/usr/sbin/database", std::fs::read(petstore.join("database"))?)
            .with_directory("/etc/mydb"),
    )?;
    start_agent(&mut vm)?;
    vm.spawn("until [ -e /etc/mydb/mydb.env ]; do usleep 10000; done; exec database")?;
    let commands = answered(&page, &mut desk, &mut vm)?;

    // Rock Ridge has names, modes and owners, Joliet names alone, and plain ISO 9660 few letters.
    let document = std::fs::read(desk.path("environments/DB1.xml"))?;
    vm.put(&Files::new().with("/tmp/DB1.xml", document))?;
    for (options, name, mode) in [
        ("ro", "ovf-env.xml", "400 0 0\n"),
        ("ro,norock", "ovf-env.xml", ""),
        ("ro,norock,nojoliet", "ovf_env.xml", ""),
    ] {
        let looked =
            mounted(&mut vm, options, &format!("cmp {name} /tmp/DB1.xml && stat -c '%a %u %g' {name}"))?;
        ensure!(mode.is_empty() || looked == mode, "{options}: {looked}");
    }

    // With files beside the document.
    vm.change_disc(&with_files(&mut desk)?)?;
    vm.host.connect()?;
    let failed = vm.report(|it| it.failure.is_some(), soon())?.report;
    ensure!(failed.failure.is_some_and(|it| it.code == "ParametersInvalid"), "the disc asks for nothing");
    let name = "A longer name than ISO 9660 has, größer.conf";
    for options in ["ro,iocharset=utf8", "ro,norock,iocharset=utf8"] {
        let read =
            format!("find ovffiles -type f | sort && cat 'ovffiles/setup/{name}' ovffiles/setup/run.sh");
        let want = format!("ovffiles/setup/{name}\novffiles/setup/run.sh\nthe rules\n#!/bin/sh\n");
        assert_eq!(mounted(&mut vm, options, &read)?, want, "{options}");
    }
    vm.run("ovf-agent env --extract /tmp/files > /dev/null")?;
    let extracted = vm.run("cd /tmp/files && find . -type f | sort && cat ovffiles/setup/run.sh")?;
    assert_eq!(extracted, format!("./ovffiles/setup/{name}\n./ovffiles/setup/run.sh\n#!/bin/sh\n"));
    ensure!(commands > 1, "the page shows nothing of the guest");
    Ok(())
}

/// Runs what the page has for the platform's side; what it says is compared by `host/tests/docs.rs`.
fn followed(page: &Page, desk: &mut Desk) -> Result<()> {
    let mut said = String::new();
    for block in page.blocks.iter().filter(|block| matches!(block.place, Place::Host(_))) {
        if let Some(file) = block.file() {
            desk.put(file, &block.text());
        }
        for command in console::commands(block).unwrap_or_default() {
            said += &format!("$ {}\n{}", command.text, desk.run(&command.text));
        }
    }
    ensure!(desk.path("discs/DB1.iso").exists(), "{PAGE} makes no disc:\n{said}");
    Ok(())
}

/// QEMU takes the machine that the page describes. It is not started: its disk is as empty as the page's.
fn accepted(page: &Page, desk: &mut Desk) -> Result<()> {
    let line = shown(page)?.into_iter().find(|it| it.text.starts_with(QEMU)).context("no line for QEMU")?;
    let line = line.text.replace("-enable-kvm", "-accel tcg");
    let status = desk.run(&format!(
        "{line} -S -pidfile qemu.pid && test -S ovf.sock; echo $?; kill $(cat qemu.pid) && rm -f ovf.sock"
    ));
    ensure!(status == "0\n", "{line}: {status}");
    Ok(())
}

/// The commands that the page has for this trial.
fn shown(page: &Page) -> Result<Vec<Command>> {
    let blocks = page.blocks.iter().filter(|block| block.place == Place::By(HERE.to_owned()));
    let commands = blocks.map(|block| console::commands(block).map_err(anyhow::Error::msg));
    Ok(commands.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Runs what the page shows of the guest, root's commands in it and the others on its host; how many there are.
fn answered(page: &Page, desk: &mut Desk, vm: &mut Vm) -> Result<usize> {
    vm.run("until [ -e /etc/mydb/mydb.conf ]; do usleep 10000; done")?;
    let (mut answers, mut count) = (Answers::new(), 0);
    for command in shown(page)?.into_iter().filter(|it| !it.text.starts_with(QEMU)) {
        let said = if command.is_root { vm.run(&command.text)? } else { desk.run(&command.text) };
        if !agrees(&command.says, &said.lines().collect::<Vec<_>>()) {
            answers.push((command.shown, said));
        }
        count += 1;
    }
    if std::env::var_os("BLESS").is_some() && !answers.is_empty() {
        std::fs::write(top().join(PAGE), console::with_answers(&page.text, &answers))?;
    } else {
        ensure!(answers.is_empty(), "{PAGE} shows something else; BLESS=1 writes it: {answers:?}");
    }
    Ok(count)
}

/// What a command says in the directory where the kernel has mounted the disc.
fn mounted(vm: &mut Vm, options: &str, command: &str) -> Result<String> {
    let script = format!(
        "mkdir -p /mnt && mount -t iso9660 -o {options} /dev/sr0 /mnt && cd /mnt && {command}; status=$?; cd / && umount /mnt && exit $status"
    );
    vm.run(&script).with_context(|| format!("mounted with {options}"))
}

fn with_files(desk: &mut Desk) -> Result<PathBuf> {
    for (name, text) in
        [("files.ovf", WITH_FILES), ("rules.conf", "the rules\n"), ("setup.sh", "#!/bin/sh\n")]
    {
        desk.put(name, text);
    }
    let said = desk.run("ovf-host iso files.ovf --output files.iso");
    ensure!(said.is_empty(), "{said}");
    Ok(desk.path("files.iso"))
}
