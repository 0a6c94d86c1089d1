//! Where the document is looked for, and where it is not: each trust rule with a machine that tries to break in.
//!
//! Machines are scratch directories with the parts of `/sys` and `/dev` that matter; a device is an image file, made by
//! xorriso. What takes real devices (hot-plug, loop, device mapper, mounting) is tried in guests. Nothing here needs a VM
//! or root.

#![expect(
    clippy::disallowed_methods,
    reason = "a test is outside of the agent, and looks at files and starts programs"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const AGENT_TOML: &str = r#"
[parameters]
who = { key = "who", type = "string", default = "nobody" }
count = { key = "count", type = "int" }
"#;
const NO_WAIT: &str = "[transport.iso]\nwait = \"0s\"\nsettle = \"0s\"\n";
const TEMPLATE: &str = "+++\npath = \"/etc/who\"\n+++\n{{ who }}\n";

/// A document that says who sent it.
fn document(who: &str) -> String {
    format!(
        r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:e="http://schemas.dmtf.org/ovf/environment/1">
        <PropertySection><Property e:key="who" e:value="{who}"/></PropertySection></Environment>"#
    )
}

/// The document with which Azure provisions its guests.
const AZURE: &str = r#"<ns0:Environment xmlns:ns0="http://schemas.dmtf.org/ovf/environment/1"
    xmlns:ns1="http://schemas.microsoft.com/windowsazure"><ns1:ProvisioningSection/></ns0:Environment>"#;

/// A machine in a scratch directory.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().expect("a scratch directory"));
        machine.settings("");
        machine.write("etc/ovf-agent/templates/who.tera", TEMPLATE);
        machine.write("proc/sys/kernel/random/boot_id", "first\n");
        fs::create_dir_all(machine.path("sys/class/block")).expect("mkdir");
        fs::create_dir_all(machine.path("dev")).expect("mkdir");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("root").join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        fs::write(path, text).expect("write");
    }

    fn settings(&self, transport: &str) {
        let no_wait = if transport.contains("[transport.iso]") { "" } else { NO_WAIT };
        self.write("etc/ovf-agent/agent.toml", format!("{AGENT_TOML}{transport}\n{no_wait}"));
    }

    /// A block device with an image on it.
    fn device(&self, name: &str, image: &Image<'_>) {
        self.write(&format!("sys/class/block/{name}/size"), "800\n");
        image.make(&self.path(&format!("dev/{name}")));
    }

    fn unplug(&self, name: &str) {
        fs::remove_file(self.path(&format!("dev/{name}"))).expect("it was there");
        fs::remove_dir_all(self.path(&format!("sys/class/block/{name}"))).expect("it was there");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let binary = std::env::var_os("OVF_AGENT").unwrap_or_else(|| env!("CARGO_BIN_EXE_ovf-agent").into());
        let mut command = Command::new(binary);
        command.args(arguments).arg("--root").arg(self.path("")).args(["--log", "info"]);
        command.output().expect("the agent starts")
    }

    /// Configures the machine, and gives the report.
    fn apply(&self) -> (Value, String) {
        let output = self.run(&["apply", "--json"]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        (serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {log}")), log)
    }

    /// Configures it, and says from where and as whom; and what the log said.
    fn configured(&self) -> (String, String, String) {
        let (report, log) = self.apply();
        let who = fs::read_to_string(self.path("etc/who")).unwrap_or_default();
        (report["source"].as_str().expect("text").to_owned(), who.trim_end().to_owned(), log)
    }

    #[track_caller]
    fn is_configured(&self, source: &str, who: &str) {
        let (from, as_whom, log) = self.configured();
        assert_eq!((from.as_str(), as_whom.as_str()), (source, who), "{log}");
    }

    #[track_caller]
    fn is_configured_and_says(&self, source: &str, who: &str, said: &str) {
        let (from, as_whom, log) = self.configured();
        assert_eq!((from.as_str(), as_whom.as_str()), (source, who), "{log}");
        assert!(log.contains(said), "{said:?} is not in {log}");
    }
}

/// What is on a device.
struct Image<'a> {
    label: &'a str,
    /// Names and contents.
    files: Vec<(&'a str, String)>,
    /// Further options of mkisofs.
    options: &'a [&'a str],
}

impl<'a> Image<'a> {
    fn of(label: &'a str, document: String) -> Self {
        Self { label, files: vec![("ovf-env.xml", document)], options: &["-J", "-R"] }
    }

    fn make(&self, path: &Path) {
        let content = tempfile::tempdir().expect("a scratch directory");
        for (name, text) in &self.files {
            let file = content.path().join(name);
            fs::create_dir_all(file.parent().expect("a directory")).expect("mkdir");
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, file).expect("symlink"),
                None => fs::write(file, text).expect("write"),
            }
        }
        let mut xorriso = Command::new("xorriso");
        xorriso.args(["-as", "mkisofs", "-quiet", "-V", self.label]).args(self.options);
        let output = xorriso.arg("-o").arg(path).arg(content.path()).output();
        let output = output.expect("xorriso runs (Debian package xorriso)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn optical_drives_come_first_and_of_these_the_labelled_ones() {
    let machine = Machine::new();
    machine.device("vdb", &Image::of("OVF ENV", document("disk")));
    machine.is_configured("iso:/dev/vdb", "disk");
    let machine = Machine::new();
    machine.device("vdb", &Image::of("OVF ENV", document("disk")));
    machine.device("sr0", &Image::of("CDROM", document("drive")));
    machine.is_configured("iso:/dev/sr0", "drive");
    let machine = Machine::new();
    machine.device("sr0", &Image::of("CDROM", document("unlabelled")));
    machine.device("sr10", &Image::of("ovfenv", document("tenth")));
    machine.device("sr2", &Image::of("OVF-TRANSPORT", document("second")));
    machine.is_configured("iso:/dev/sr2", "second");
}

#[test]
fn a_disk_counts_only_if_it_is_whole_and_labelled_and_nobody_stands_on_it() {
    for name in ["vdb", "sdb", "xvdb", "nvme0n1", "sdaa"] {
        let machine = Machine::new();
        machine.device(name, &Image::of("OVF ENV", document("disk")));
        machine.is_configured(&format!("iso:/dev/{name}"), "disk");
    }
    for label in ["CDROM", "OVF", "data", "OVF_ENV"] {
        let machine = Machine::new();
        machine.device("vdb", &Image::of(label, document("intruder")));
        machine.is_configured("none", "nobody");
    }
    for name in ["loop0", "dm-0", "md127", "nbd0", "zram0", "ram0", "mmcblk0", "vda1", "nvme0n1p1", "fd0"] {
        let machine = Machine::new();
        machine.device(name, &Image::of("OVF ENV", document("intruder")));
        machine.is_configured("none", "nobody");
    }
    for name in ["vdb", "sr0"] {
        let machine = Machine::new();
        machine.device(name, &Image::of("OVF ENV", document("intruder")));
        machine.write(&format!("sys/class/block/{name}/holders/dm-0"), "");
        machine.is_configured("none", "nobody");
    }
    // Something that the guest makes, under a disk's name.
    let machine = Machine::new();
    machine.device("vdb", &Image::of("OVF ENV", document("intruder")));
    let (class, made) = (machine.path("sys/class/block/vdb"), machine.path("sys/devices/virtual/block/vdb"));
    fs::create_dir_all(made.parent().expect("a directory")).expect("mkdir");
    fs::rename(&class, &made).expect("rename");
    symlink("../../devices/virtual/block/vdb", &class).expect("symlink");
    machine.is_configured("none", "nobody");
    // A node that no device stands behind, or that leads elsewhere.
    let machine = Machine::new();
    machine.device("sr0", &Image::of("OVF ENV", document("intruder")));
    fs::remove_dir_all(machine.path("sys/class/block/sr0")).expect("it was there");
    machine.is_configured("none", "nobody");
}

#[test]
fn the_appliance_says_which_kinds_of_device_count() {
    for (devices, want) in [
        (r#"[]"#, "none"),
        (r#"["labelled"]"#, "iso:/dev/vdb"),
        (r#"["partitions"]"#, "iso:/dev/vda1"),
        (r#"["partitions", "optical"]"#, "iso:/dev/sr0"),
    ] {
        let machine = Machine::new();
        for name in ["sr0", "vdb", "vda1"] {
            machine.device(name, &Image::of("OVF ENV", document(name)));
        }
        machine.settings(&format!("{NO_WAIT}devices = {devices}"));
        let (source, ..) = machine.configured();
        assert_eq!(source, want, "{devices}");
    }
    let machine = Machine::new();
    machine.settings(&format!("{NO_WAIT}devices = [\"usb\"]\nmethod = \"guess\"\n"));
    let output = machine.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    machine.settings("[transport]\norder = [\"iso\", \"usb\", \"iso\", \"file:env.xml\"]\n");
    let output = machine.run(&["check"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), 4, "three problems and their number: {said}");
}

#[test]
fn other_peoples_volumes_are_passed_over() {
    for label in ["cidata", "CIDATA", "config-2", "rd_rdfe_stable.150619-0000"] {
        let machine = Machine::new();
        machine.device("sr0", &Image::of(label, document("intruder")));
        machine.is_configured("none", "nobody");
        machine.device("sr1", &Image::of("anything", document("platform")));
        machine.is_configured("iso:/dev/sr1", "platform");
    }
    let machine = Machine::new();
    machine.device("sr0", &Image::of("OVF ENV", AZURE.to_owned()));
    machine.is_configured("none", "nobody");
    machine.device("sr1", &Image::of("OVF ENV", document("platform")));
    machine.is_configured("iso:/dev/sr1", "platform");
    let machine = Machine::new();
    let files = vec![("setup.exe", "x".to_owned()), ("sub/ovf-env.xml", document("intruder"))];
    machine.device("sr0", &Image { label: "INSTALL", files, options: &["-J", "-R"] });
    machine.is_configured("none", "nobody");
}

#[test]
fn a_broken_place_is_reported_also_where_a_later_one_works() {
    let machine = Machine::new();
    machine.device("sr0", &Image::of("OVF ENV", document("cut")));
    fs::File::options()
        .write(true)
        .open(machine.path("dev/sr0"))
        .and_then(|file| file.set_len(20 * 2048))
        .expect("truncate");
    let (report, log) = machine.apply();
    assert_eq!(report["failure"]["code"], "ImageBroken", "{log}");
    assert_eq!(report["failure"]["stage"], "transport");

    machine.device("sr1", &Image::of("CDROM", document("good")));
    let (report, log) = machine.apply();
    assert_eq!((&report["source"], &report["warnings"]), (&"iso:/dev/sr1".into(), &1.into()), "{log}");
    assert!(log.contains("passed over: cannot use the ISO 9660 image on /dev/sr0"), "{log}");
    let shown = machine.run(&["env", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["source"], "iso:/dev/sr1");
}

#[test]
fn what_cannot_be_opened_is_an_error_and_not_nothing() {
    let machine = Machine::new();
    machine.write("sys/class/block/sr0/size", "0\n");
    fs::create_dir(machine.path("dev/sr0")).expect("mkdir");
    let (report, log) = machine.apply();
    assert_eq!(report["failure"]["code"], "SourceUnreadable", "{log}");
    // A drive without a node: devtmpfs is not mounted, or the drive has just gone.
    fs::remove_dir(machine.path("dev/sr0")).expect("rmdir");
    machine.is_configured("none", "nobody");
}

#[test]
fn platforms_without_an_iso_have_other_places() {
    const FW_CFG: &str = "sys/firmware/qemu_fw_cfg/by_name/opt/org.ovf/env/raw";
    const CREDENTIAL: &str = "run/credentials/@system/ovf.environment";
    let machine = Machine::new();
    machine.write(CREDENTIAL, document("systemd"));
    machine.is_configured("credential", "systemd");
    let machine = Machine::new();
    machine.write(CREDENTIAL, document("systemd"));
    machine.write(FW_CFG, document("qemu"));
    machine.is_configured("fwcfg", "qemu");
    let machine = Machine::new();
    machine.write(FW_CFG, document("qemu"));
    machine.device("sr0", &Image::of("OVF ENV", document("drive")));
    machine.is_configured("iso:/dev/sr0", "drive");
    let machine = Machine::new();
    machine.write(CREDENTIAL, document("systemd"));
    machine.write("etc/env.xml", document("file"));
    machine.settings("[transport]\norder = [\"file:/etc/env.xml\", \"credential\"]\n");
    machine.is_configured("file:/etc/env.xml", "file");
    fs::remove_file(machine.path("etc/env.xml")).expect("it was there");
    let machine = Machine::new();
    machine.write("etc/env.xml", document("file"));
    machine.is_configured("none", "nobody");
    // Here, but broken.
    let machine = Machine::new();
    machine.write(FW_CFG, "");
    let (report, log) = machine.apply();
    assert_eq!(report["failure"]["stage"], "environment", "{log}");
    // By name.
    let machine = Machine::new();
    machine.write(CREDENTIAL, document("systemd"));
    let said = machine.run(&["get", "who", "--source", "credential"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "systemd\n");
    let said = machine.run(&["get", "who", "--source", "fwcfg"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("-fw_cfg name=opt/org.ovf/env"));
}

#[test]
fn the_source_of_the_first_success_is_pinned_for_this_boot() {
    let machine = Machine::new();
    machine.device("sr0", &Image::of("OVF ENV", document("first")));
    machine.is_configured("iso:/dev/sr0", "first");
    // A better one elsewhere is ignored, and said to be.
    machine.device("sr1", &Image::of("OVF ENV", document("intruder")));
    machine.write("run/credentials/@system/ovf.environment", document("intruder"));
    machine.is_configured_and_says("iso:/dev/sr0", "first", "ignored: the document in iso:/dev/sr1");
    let (report, _) = machine.apply();
    assert_eq!(report["warnings"], 2, "both are counted");
    // Also where the pinned source has nothing any more.
    machine.unplug("sr0");
    machine.is_configured_and_says("none", "first", "ignored: the document in credential");
    // A disc that is swapped in the pinned drive is how platforms re-send.
    machine.device("sr0", &Image::of("OVF ENV", document("second")));
    machine.is_configured("iso:/dev/sr0", "second");
    // The next boot looks anew.
    machine.unplug("sr0");
    machine.write("proc/sys/kernel/random/boot_id", "second\n");
    machine.is_configured("iso:/dev/sr1", "intruder");
}

#[test]
fn a_refused_document_pins_nothing() {
    let machine = Machine::new();
    let bad = document("x\"/><Property e:key=\"count\" e:value=\"many");
    machine.device("sr0", &Image::of("OVF ENV", bad));
    let (report, log) = machine.apply();
    assert_eq!(report["failure"]["stage"], "parameters", "{log}");
    machine.unplug("sr0");
    machine.device("sr1", &Image::of("OVF ENV", document("mended")));
    machine.is_configured("iso:/dev/sr1", "mended");
}

#[test]
fn a_disk_that_was_not_there_at_boot_is_ignored() {
    let machine = Machine::new();
    // Looking at the environment is no boot: it remembers nothing.
    machine.run(&["env"]);
    machine.run(&["plan"]);
    assert!(!machine.path("run").exists());
    machine.device("vdb", &Image::of("OVF ENV", document("there")));
    machine.write("sys/class/block/vdb/diskseq", "2\n");
    machine.is_configured("iso:/dev/vdb", "there");
    let mode = |path: &str| fs::metadata(machine.path(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!((mode("run/ovf-agent"), mode("run/ovf-agent/boot.json")), (0o755, 0o644));

    // Another one under the same name.
    machine.device("vdb", &Image::of("OVF ENV", document("intruder")));
    machine.write("sys/class/block/vdb/diskseq", "3\n");
    machine.is_configured_and_says("none", "there", "ignored: the volume `OVF ENV` on /dev/vdb");

    // On a guest that found nothing when it came up, nothing comes later.
    let machine = Machine::new();
    machine.is_configured("none", "nobody");
    machine.device("vdb", &Image::of("OVF ENV", document("intruder")));
    machine.is_configured_and_says("none", "nobody", "it was not there at boot");
    // Unless it was named, by somebody who may.
    let image = format!("iso:{}", machine.path("dev/vdb").display());
    let said = machine.run(&["get", "who", "--source", &image]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "intruder\n");
    // A drive that comes later is one.
    machine.device("sr0", &Image::of("OVF ENV", document("platform")));
    machine.is_configured("iso:/dev/sr0", "platform");
}

#[test]
fn files_that_came_along_are_listed_and_extracted() {
    let files = || {
        vec![
            ("ovf-env.xml", document("a")),
            ("ovffiles/setup/cfg.xml", "<cfg/>".to_owned()),
            ("readme.txt", "read".to_owned()),
        ]
    };
    for (options, plain) in
        [(&["-J", "-R"][..], false), (&["-J"], false), (&["-R"], false), (&["-iso-level", "1"], true)]
    {
        let machine = Machine::new();
        machine.device("sr0", &Image { label: "OVF ENV", files: files(), options });
        let listed = machine.run(&["env", "--files"]);
        let want = "         6  ovffiles/setup/cfg.xml\n         4  readme.txt\n";
        assert_eq!(String::from_utf8_lossy(&listed.stdout), want, "{options:?} {plain}");
        let listed = machine.run(&["env", "--files", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        assert_eq!(listed[0], serde_json::json!({ "path": "ovffiles/setup/cfg.xml", "bytes": 6 }));

        let target = machine.path("out");
        let extracted = machine.run(&["env", "--extract", target.to_str().expect("text")]);
        assert_eq!(extracted.status.code(), Some(0), "{}", String::from_utf8_lossy(&extracted.stderr));
        assert_eq!(fs::read(target.join("ovffiles/setup/cfg.xml")).expect("extracted"), b"<cfg/>");
        assert_eq!(fs::read_dir(&target).expect("a directory").count(), 2, "and not the document");
        let again = machine.run(&["env", "--extract", target.to_str().expect("text")]);
        assert_eq!(again.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&again.stderr).contains("it is there already"));
    }
    // A document that came otherwise has none.
    let machine = Machine::new();
    machine.write("run/credentials/@system/ovf.environment", document("a"));
    let listed = machine.run(&["env", "--files", "--json"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "[]\n");
}

#[test]
fn files_that_would_lead_elsewhere_are_refused_together_with_all_others() {
    let mut files = vec![("ovf-env.xml", document("a")), ("good.txt", "good".to_owned())];
    files.push(("link", "-> /etc/shadow".to_owned()));
    let machine = Machine::new();
    machine.device("sr0", &Image { label: "OVF ENV", files, options: &["-R"] });
    let listed = machine.run(&["env", "--files"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("link  (refused: it is a symbolic link)"));
    let target = machine.path("out");
    let refused = machine.run(&["env", "--extract", target.to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("`link` in it is a symbolic link, so none of its files are handed out"), "{said}");
    assert!(!target.exists());
    assert_eq!(fs::read_dir(machine.path("")).expect("a directory").count(), 4, "nothing is left beside it");

    // Rock Ridge names that no writer makes: the name is replaced in the image. The reader makes harmless ones of them.
    for (hostile, harmless) in [("..", "__"), ("a/", "a_"), ("/a", "_a")] {
        let files = vec![("ovf-env.xml", document("a")), ("zq", "hostile".to_owned())];
        let machine = Machine::new();
        machine.device("sr0", &Image { label: "OVF ENV", files, options: &["-R"] });
        let path = machine.path("dev/sr0");
        let mut image = fs::read(&path).expect("an image");
        let name = [b"NM\x07\x01\x00".as_slice(), b"zq"].concat();
        let at = image.windows(name.len()).position(|window| window == name).expect("the name");
        image[at + 5..at + 7].copy_from_slice(hostile.as_bytes());
        fs::write(&path, image).expect("write");
        let target = machine.path("out");
        let extracted = machine.run(&["env", "--extract", target.to_str().expect("text")]);
        assert_eq!(extracted.status.code(), Some(0), "{}", String::from_utf8_lossy(&extracted.stderr));
        let names =
            fs::read_dir(&target).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), [harmless]);
    }
}
