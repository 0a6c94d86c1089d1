//! Where a trial deploys: a package of two guests, `a` before `b`, and the QEMU that runs them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::common;
use crate::port::{Behaviour, Port};

/// The environment of every command.
const ENVIRONMENT: [(&str, &str); 3] =
    [("OVF_HOST_STATE", "state"), ("OVF_HOST_ACCEL", "tcg"), ("TERM", "dumb")];

/// A trial's place; what runs in it ends with it.
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a directory"));
        // A directory is meant by whatever path leads to it.
        fs::create_dir(desk.path("elsewhere")).expect("made");
        symlink("elsewhere", desk.path("state")).expect("made");
        fs::write(desk.path("disk.raw"), [0; 512]).expect("written");
        fs::write(desk.path("shop.ovf"), package()).expect("written");
        common::program(&desk.path("qemu"), include_str!("qemu.sh"));
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Plays a guest of the deployment from now on.
    pub(crate) fn play(&self, id: &str, behaviour: Behaviour) -> Port {
        Port::new(&self.path(&format!("state/shop/s/{}.port", place(id))), id, behaviour)
    }

    /// Where a guest's disc is.
    pub(crate) fn disc(&self, id: &str) -> PathBuf {
        self.path(&format!("state/shop/guests/{}/environment.iso", place(id)))
    }

    /// The guests of which it is written down that this has happened.
    pub(crate) fn happened(&self, event: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path("state/shop/events.jsonl")).expect("written down");
        let events = text.lines().map(|it| serde_json::from_str::<Value>(it).expect("JSON"));
        let those = events.filter(|it| it["event"] == event);
        those.map(|it| it["guest"].as_str().expect("a guest").to_owned()).collect()
    }

    /// What the deployment remembers.
    pub(crate) fn record(&self) -> Value {
        let text = fs::read(self.path("state/shop/deployment.json")).expect("a deployment");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// What a command complains of whose answer goes there, and how it ends.
    pub(crate) fn answer_to(&self, words: &[&str], out: impl Into<Stdio>) -> (String, Option<i32>) {
        let output = self.command(words).stdout(out).output().expect("it runs");
        (String::from_utf8(output.stderr).expect("UTF-8"), output.status.code())
    }

    /// Starts a command that is heard by nobody but us.
    pub(crate) fn begin(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// The same, with the id of its process in this file before it begins.
    pub(crate) fn begin_as(&self, file: &str, words: &[&str]) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\"", file, env!("CARGO_BIN_EXE_ovf-host")])
            .args(words);
        command.current_dir(self.0.path()).envs(ENVIRONMENT).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// Waits until an interrupt does not end a process by itself any more.
    pub(crate) fn catches_interrupts(&self, child: &Child) {
        const INTERRUPT: u64 = 1 << 1;
        let caught = || {
            let text = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
            let mask = text.lines().find_map(|it| it.strip_prefix("SigCgt:")).expect("its mask");
            u64::from_str_radix(mask.trim(), 16).expect("a number")
        };
        while caught() & INTERRUPT == 0 {
            std::thread::yield_now();
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovf-host"));
        command.args(words).current_dir(self.0.path()).envs(ENVIRONMENT).stdin(Stdio::null());
        command
    }

    /// What a command answers, and how it ends.
    pub(crate) fn answer(&self, words: &[&str]) -> (String, Option<i32>) {
        let output = self.command(words).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).expect("UTF-8"), output.status.code())
    }

    /// Starts the guests, and waits for nobody.
    pub(crate) fn up(&self, more: &[&str]) {
        let words = [&["up", "shop.ovf", "--qemu", "./qemu", "--no-wait"], more].concat();
        let (said, status) = self.answer(&words);
        assert_eq!(status, Some(0), "{said}");
    }

    /// Starts the guests, until this one has come so far.
    pub(crate) fn up_until(&self, more: &[&str], guest: &str, word: &str) -> Child {
        let words = [&["up", "shop.ovf", "--qemu", "./qemu", "--json"], more].concat();
        let mut command = self.command(&words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let events = BufReader::new(child.stdout.take().expect("a pipe"));
        let wanted = [format!("\"guest\":\"{guest}\""), format!("\"event\":\"{word}\"")];
        let is_there =
            events.lines().map_while(Result::ok).any(|it| wanted.iter().all(|what| it.contains(what)));
        assert!(is_there, "{guest} was never {word}: {}", ends(&mut child));
        child
    }

    /// The processes of the deployment that have this in their command lines, whose words end with a NUL each.
    pub(crate) fn processes(&self, words: &str) -> Vec<i32> {
        let ids = fs::read_dir("/proc")
            .expect("there")
            .filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        let state = fs::canonicalize(self.path("elsewhere")).expect("there");
        let is_ours = |id: &i32| {
            let place = Path::new("/proc").join(id.to_string());
            fs::read_link(place.join("cwd")).is_ok_and(|it| it.starts_with(&state))
                && fs::read(place.join("cmdline"))
                    .is_ok_and(|it| String::from_utf8_lossy(&it).contains(words))
        };
        ids.filter(is_ours).collect()
    }

    /// Sends a signal to the one process with this in its command line.
    pub(crate) fn signal(&self, words: &str, signal: &str) {
        let [id] = self.processes(words)[..] else { panic!("not one {words:?}: {:?}", self.processes("")) };
        kill(id, signal);
    }

    /// Nothing runs, and no file is left.
    pub(crate) fn is_clear(&self) {
        let left: Vec<_> = fs::read_dir(self.path("state")).expect("there").flatten().collect();
        assert!(left.is_empty() && self.processes("path=").is_empty(), "{left:?} {:?}", self.processes(""));
    }
}

impl Drop for Desk {
    /// What a trial that failed has left is ended, by its id.
    fn drop(&mut self) {
        for id in self.processes("") {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    }
}

/// A guest's place among the package's entities, of which the first is the collection.
fn place(id: &str) -> usize {
    if id == "a" { 1 } else { 2 }
}

/// What a command complains of until it ends.
pub(crate) fn ends(child: &mut Child) -> String {
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    said
}

/// Two guests with a disk, a network card and a word each.
fn package() -> String {
    let guest = |id: &str| {
        format!(
            r#"<VirtualSystem ovf:id="{id}"><Info/>
  <ProductSection><Info/><Property ovf:key="word" ovf:type="string" ovf:value="first" ovf:userConfigurable="true"/></ProductSection>
  <VirtualHardwareSection ovf:transport="iso"><Info/>
    <Item><rasd:InstanceID>1</rasd:InstanceID><rasd:HostResource>ovf:/disk/disk</rasd:HostResource><rasd:ResourceType>17</rasd:ResourceType></Item>
    <Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
    <Item><rasd:Connection>lan</rasd:Connection><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>10</rasd:ResourceType></Item>
  </VirtualHardwareSection></VirtualSystem>
"#
        )
    };
    format!(
        r#"<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
<References><File ovf:id="image" ovf:href="disk.raw"/></References>
<DiskSection><Info/><Disk ovf:diskId="disk" ovf:fileRef="image" ovf:capacity="1048576"/></DiskSection>
<NetworkSection><Info/><Network ovf:name="lan"><Description>All</Description></Network></NetworkSection>
<VirtualSystemCollection ovf:id="shop"><Info/>
{}{}</VirtualSystemCollection></Envelope>
"#,
        guest("a"),
        guest("b")
    )
}

/// Sends a signal to a process.
fn kill(id: impl std::fmt::Display, signal: &str) {
    let sent = Command::new("kill").args([signal, &id.to_string()]).status();
    assert!(sent.expect("it runs").success(), "{id} has no {signal}");
}

/// Interrupts a command, as a terminal does.
pub(crate) fn interrupt(command: &Child) {
    kill(command.id(), "-INT");
}
