//! Other people's readers of OVF, and what they make of packages that are made here.
//!
//! They are looked for on this machine, and nobody installs them for these trials: COT is PyPI's (`pip install cot`), virt-v2v
//! brings a hundred Debian packages with it. Where one is missing, its trial is skipped, and says so. What they do not
//! understand is in docs/host.md, under "Other readers", and is tried here, too, so that it stays true.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};

mod common;
#[path = "common/agent.rs"]
mod program;
use common::answer;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = |name: &'static str, reader: &'static str, test: fn() -> Result<(), Failed>| {
        let there = Command::new(reader).arg("--version").output().is_ok_and(|it| it.status.success());
        let kind = if there { String::new() } else { format!("skipped: there is no {reader}") };
        Trial::test(name, test).with_kind(kind).with_ignored_flag(!there)
    };
    let trials = vec![
        trial("cot-reads-a-machine-of-one-product-section", "cot", cot),
        trial("cot-takes-no-second-product-section", "cot", cot_of_two),
        trial("virt-v2v-reads-a-machine", "virt-v2v", virt_v2v),
        trial("virt-v2v-takes-no-empty-disk", "virt-v2v", virt_v2v_of_an_empty_disk),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A package of one machine with these disks, whose agent has a second key.
fn package(disks: &str, second: &str) -> Result<tempfile::TempDir, Failed> {
    let directory = tempfile::tempdir()?;
    let recipe = format!(
        "name = \"shop\"\nproduct = \"Shop\"\nvendor = \"Example\"\nversion = \"1.0\"\n[networks.inside]\ndescription = \"Inside\"\n\
         [machines.web]\nmemory = \"1 GiB\"\ncpus = 2\ndisks = [{disks}]\nnetworks = [\"inside\"]\nagent = \"web\"\n"
    );
    fs::write(directory.path().join("appliance.toml"), recipe)?;
    fs::create_dir_all(directory.path().join("web/templates"))?;
    let parameters = format!(
        "[parameters]\ntitle = {{ key = \"org.example.title\", type = \"fqdn\" }}\nport = {{ key = \"{second}\", type = \"port\", default = 80 }}\n"
    );
    fs::write(directory.path().join("web/agent.toml"), parameters)?;
    let uses = "+++\npath = \"/etc/web\"\nescape = \"ini\"\n+++\na = {{ title }} {{ port }}\n";
    fs::write(directory.path().join("web/templates/web.tera"), uses)?;
    run(directory.path(), "qemu-img", &["create", "-q", "-f", "qcow2", "web.qcow2", "8M"])?;
    let (said, status) =
        answer(directory.path(), &["pack", ".", "-o", "shop.ova", "--agent-program", program::agent()]);
    assert_eq!((said.as_str(), status), ("", Some(0)));
    Ok(directory)
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<Output, Failed> {
    let output = Command::new(program).args(arguments).current_dir(directory).output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn has(text: &[u8], wanted: &[&str]) {
    let text = String::from_utf8_lossy(text);
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in wanted {
        assert!(plain.contains(wanted), "{wanted} is not in\n{text}");
    }
}

fn cot() -> Result<(), Failed> {
    let package = package("\"web.qcow2\", \"2 GiB\"", "org.example.port")?;
    let info = run(package.path(), "cot", &["info", "-v", "shop.ova"])?;
    has(
        &info.stdout,
        &[
            "Product: Shop",
            "web-disk1.vmdk 64 KiB 8 MiB harddisk @ SCSI 0:0",
            "(disk placeholder) -- 2 GiB harddisk @ SCSI 0:1",
            "None (default) 2 1 GiB 1 0 2 / 2.008 GiB",
            "inside \"Inside\"",
            "Transport types: iso",
            "<title>",
            "<port> \"80\"",
        ],
    );
    // It compares the SHA-1 of each file with the SHA-256 of the manifest, complains, and goes on.
    has(&info.stderr, &["The sha1 checksum for file 'shop.ovf' is expected to be"]);
    run(
        package.path(),
        "cot",
        &["--force", "edit-properties", "shop.ova", "-o", "edited.ova", "-p", "title=a.example.org"],
    )?;
    let (text, status) = answer(package.path(), &["check", "edited.ova"]);
    assert_eq!((common::codes(&text).collect::<Vec<_>>(), status), (vec!["digest-weak"], Some(0)), "{text}");
    Ok(())
}

fn cot_of_two() -> Result<(), Failed> {
    let package = package("\"web.qcow2\"", "other.port")?;
    let output = Command::new("cot").args(["info", "shop.ova"]).current_dir(package.path()).output()?;
    assert!(!output.status.success());
    has(&output.stderr, &["Found multiple matching <ProductSection> children"]);
    Ok(())
}

fn virt_v2v() -> Result<(), Failed> {
    let package = package("\"web.qcow2\"", "other.port")?;
    let source = run(package.path(), "virt-v2v", &["-i", "ova", "shop.ova", "--print-source"])?;
    has(
        &source.stdout,
        &[
            "source name: web",
            "memory: 1073741824 (bytes)",
            "nr vCPUs: 2",
            "0 [scsi]",
            "CD-ROM [ide] in slot 0",
            "Bridge \"inside\" [e1000]",
        ],
    );
    Ok(())
}

fn virt_v2v_of_an_empty_disk() -> Result<(), Failed> {
    let package = package("\"web.qcow2\", \"2 GiB\"", "org.example.port")?;
    let mut command = Command::new("virt-v2v");
    let output =
        command.args(["-i", "ova", "shop.ova", "--print-source"]).current_dir(package.path()).output()?;
    assert!(!output.status.success());
    has(&output.stderr, &["error parsing disk fileRef"]);
    Ok(())
}
