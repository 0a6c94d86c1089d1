//! A libvirt of the trial's own, and `ovf-host` that uses it.
//!
//! `qemu:///session` is that of a user who has nothing else: its home and all its sockets are in the trial's directory, so that
//! another libvirt of this machine's is nobody's concern. Its daemons refuse to serve root a session; as root all of it is another
//! user's, to whom the directory belongs. `qemu:///system` is that of a machine of the trial's own (`island`).

mod seen;

use super::far;
use super::island::Island;
use super::package;
use super::said::{Said, events};
use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;
use qemu_tests::Bench;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Who is nobody.
const NOBODY: u32 = 65534;
/// What libvirt and ovf-host run.
const PROGRAMS: [&str; 5] = ["setpriv", "setsid", "timeout", "virsh", "qemu-img"];
/// What they run where no guest runs.
const CLIENTS: [&str; 7] = ["setpriv", "setsid", "timeout", "virsh", "ssh", "sh", "rm"];
/// Where root's deployments are.
const DEPLOYMENTS: &str = "/var/lib/ovf-host";
/// The longest that a daemon takes to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A libvirt that runs.
pub(super) struct Libvirt {
    directory: TempDir,
    daemons: Vec<Child>,
    whose: Whose,
}

/// Whose libvirt it is, and where that is seen from.
enum Whose {
    /// A user's own.
    User,
    /// A machine's, on that machine.
    Machine(Island),
    /// A machine's, from another one that has only the network in common with it.
    Far(Island),
}

impl Libvirt {
    /// Starts that of a user.
    pub(super) fn of_user(bench: &Bench<'_>) -> Result<Self> {
        let libvirt = Self::of(bench, |_| Ok(Whose::User))?;
        for name in ["h", "r", "state"] {
            fs::create_dir(libvirt.path(name))?;
        }
        for name in ["h", "r", "bin", "state"] {
            if geteuid().is_root() {
                chown(libvirt.path(name), Some(NOBODY), Some(NOBODY))?;
            }
            fs::set_permissions(libvirt.path(name), fs::Permissions::from_mode(0o700))?;
        }
        libvirt.begun()
    }

    /// Starts that of a machine.
    pub(super) fn of_machine(bench: &Bench<'_>) -> Result<Self> {
        Self::of(bench, |_| Ok(Whose::Machine(Island::start(None)?)))?.begun()
    }

    /// Starts that of another machine, where nothing can be seen of what is here: of the package, of deployments.
    pub(super) fn far(bench: &Bench<'_>) -> Result<Self> {
        let start = |near: &Path| Ok(Whose::Far(Island::start(Some(near))?));
        let libvirt = Self::of(bench, start)?;
        for name in ["h", "state"] {
            fs::create_dir(libvirt.path(name))?;
        }
        libvirt.begun()
    }

    fn of(bench: &Bench<'_>, whose: impl FnOnce(&Path) -> Result<Whose>) -> Result<Self> {
        let [_, (_, host)] = bench.products()?;
        // Short: libvirt makes sockets of long names below it, and these have at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("ovf-").tempdir_in("/tmp")?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        for name in ["bin", "near", "near/bin"] {
            fs::create_dir(directory.path().join(name))?;
        }
        let whose = whose(&directory.path().join("near"))?;
        let libvirt = Self { directory, daemons: Vec::new(), whose };
        // libvirt tries each QEMU that it finds, and each takes it seconds. It looks in its PATH alone.
        link(&libvirt.directory.path().join("bin"), &["qemu-system-x86_64"])?;
        link(&libvirt.directory.path().join("bin"), &PROGRAMS)?;
        if let Whose::Far(_) = libvirt.whose {
            link(&libvirt.path("bin"), &CLIENTS)?;
        }
        // What nobody may run lies where nobody may look.
        fs::copy(&host, libvirt.path("bin/ovf-host")).context("cannot copy ovf-host")?;
        package::make(bench, &libvirt.path(""))?;
        Ok(libvirt)
    }

    fn begun(mut self) -> Result<Self> {
        self.begin()?;
        Ok(self)
    }

    /// Starts its daemons.
    pub(super) fn begin(&mut self) -> Result<()> {
        for (program, socket) in [("virtlogd", "virtlogd-sock"), ("libvirtd", "libvirt-sock")] {
            let path = ["/usr/sbin", "/usr/bin"].map(|it| PathBuf::from(it).join(program));
            let path = path.into_iter().find(|it| it.exists());
            let path = path.with_context(|| format!("{program} is missing: packaging/deps libvirt"))?;
            let socket = match self.island() {
                None => self.path("r/libvirt").join(socket),
                Some(island) => island.path("/run/libvirt").join(socket),
            };
            let command = self.inside(path.to_str().context("a path")?);
            self.serve(program, command, |_| UnixStream::connect(&socket).is_ok())?;
        }
        if let Whose::Far(_) = self.whose {
            let command = far::sshd(self)?;
            self.serve("sshd", command, far::listens)?;
        }
        self.virsh(&["uri"]).map(drop)
    }

    /// Starts a daemon, and waits until it listens, as can be told by what it has said or otherwise.
    fn serve(&mut self, name: &str, mut command: Command, listens: impl Fn(&str) -> bool) -> Result<()> {
        let log = self.path(&format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let mut daemon = command.stdout(file.try_clone()?).stderr(file).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let mut has_ended = false;
        while !has_ended && Instant::now() < deadline && !listens(&text(&log)?) {
            has_ended = daemon.try_wait()?.is_some();
            std::thread::yield_now();
        }
        self.daemons.push(daemon);
        ensure!(listens(&text(&log)?), "{name} does not listen: {}", text(&log)?);
        Ok(())
    }

    /// Ends its daemons, as a machine does that shuts down; its domains run on.
    pub(super) fn end(&mut self) -> Result<()> {
        for mut daemon in self.daemons.drain(..).rev() {
            Command::new("kill").arg(daemon.id().to_string()).status()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// A command of whoever this libvirt is for: where ovf-host runs.
    pub(super) fn command(&self, program: &str) -> Command {
        let Whose::Far(island) = &self.whose else { return self.inside(program) };
        let mut command = island.beside();
        command.args(["setpriv", "--pdeathsig", "KILL", program]).current_dir(self.path(""));
        usual(&mut command, &self.path("bin")).env("HOME", self.path("h"));
        command.env("OVF_HOST_STATE", self.path("state"));
        command
    }

    /// A command where libvirt itself runs.
    pub(super) fn inside(&self, program: &str) -> Command {
        let place = self.directory.path();
        let mut command = match self.island() {
            None => Command::new("/usr/bin/env"),
            Some(island) => island.inside(place),
        };
        command.args(["setpriv", "--pdeathsig", "KILL"]);
        if self.island().is_none() && geteuid().is_root() {
            let id = NOBODY.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        command.arg(program).current_dir(place);
        usual(&mut command, &place.join("bin"));
        match self.island() {
            None => command
                .env("HOME", self.path("h"))
                .env("XDG_RUNTIME_DIR", self.path("r"))
                .env("OVF_HOST_STATE", self.path("state"))
                .env("LIBVIRT_DEFAULT_URI", "qemu:///session"),
            Some(_) => command.env("HOME", "/run/root").env("LIBVIRT_DEFAULT_URI", "qemu:///system"),
        };
        command
    }

    /// The machine whose libvirt it is.
    pub(super) fn island(&self) -> Option<&Island> {
        match &self.whose {
            Whose::User => None,
            Whose::Machine(island) | Whose::Far(island) => Some(island),
        }
    }

    /// A path below the directory in which ovf-host runs.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self.whose {
            Whose::User | Whose::Machine(_) => self.directory.path().join(name),
            Whose::Far(_) => self.directory.path().join("near").join(name),
        }
    }

    /// A path below the directory of deployments, as it is seen from here.
    pub(super) fn kept(&self, name: &str) -> PathBuf {
        match &self.whose {
            Whose::User | Whose::Far(_) => self.path("state").join(name),
            Whose::Machine(island) => island.path(DEPLOYMENTS).join(name),
        }
    }

    /// Writes a file, for whoever this libvirt is for.
    pub(super) fn put(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path.to_str().context("a path")?.to_owned())
    }

    /// Runs ovf-host to its end.
    pub(super) fn host(&self, words: &[&str]) -> Result<Said> {
        Said::of(self.command("ovf-host").args(words).output().context("ovf-host does not run")?)
    }

    /// Runs a command line.
    pub(super) fn shell(&self, line: &str) -> Result<Said> {
        Said::of(self.command("/bin/sh").args(["-c", line]).output()?)
    }

    /// Runs it until this guest has come so far.
    pub(super) fn host_until(&self, words: &[&str], guest: &str, word: &str) -> Result<Child> {
        let mut command = self.command("ovf-host");
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it has a standard output")?).lines();
        let wanted = (guest.to_owned(), word.to_owned());
        for line in lines {
            if events(&line?) == [wanted.clone()] {
                return Ok(child);
            }
        }
        anyhow::bail!("{guest} was never {word}: {}", Said::of(child.wait_with_output()?)?.text())
    }

    /// What virsh says.
    pub(super) fn virsh(&self, words: &[&str]) -> Result<String> {
        let said = Said::of(self.inside("virsh").arg("--quiet").args(words).output()?)?;
        said.is(0, "")?;
        Ok(said.out)
    }
}

impl Drop for Libvirt {
    /// Whatever a failed trial has left is ended, by id.
    fn drop(&mut self) {
        let _ = self.end();
        for id in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    }
}

/// Makes links to programs of this machine's.
fn link(directory: &Path, programs: &[&str]) -> Result<()> {
    programs.iter().try_for_each(|it| Ok(symlink(Path::new("/usr/bin").join(it), directory.join(it))?))
}

/// What all commands have in common, and nothing of what surrounds the tests.
fn usual<'a>(command: &'a mut Command, programs: &Path) -> &'a mut Command {
    command.env_clear().env("PATH", programs).env("OVF_HOST_ACCEL", "tcg").stdin(Stdio::null());
    // Another libvirtd than ours is not to be started by whoever finds none.
    command.env("LIBVIRT_AUTOSTART", "0")
}

/// A file's text.
fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Somebody listens at this socket.
pub(super) fn listens(path: &Path) -> Result<()> {
    UnixStream::connect(path).with_context(|| format!("nobody listens at {}", path.display())).map(drop)
}
