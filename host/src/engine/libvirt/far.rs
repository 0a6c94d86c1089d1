//! A libvirt on another machine: what of a deployment is there, and how it comes there.
//!
//! Decides where it is: one directory of that machine's, made by `up` and removed by `down`, with the package's images, and
//! of each guest its disks, disc and console. What people and later commands look at stays here, sockets are led here by
//! `ssh`, and of that machine nothing is wanted but libvirt, QEMU and what every system has.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use super::Connection;
use super::connection::Login;
use super::site::Site;
use super::ssh::Ssh;
use crate::engine::Plan;
use crate::engine::disks::Ground;
use crate::engine::program::{TAIL, said};
use crate::engine::qemu::{log, socket};
use crate::progress::Progress;

/// The other machine, as long as somebody works on the deployment.
#[derive(Debug)]
pub(super) struct Far {
    ssh: Ssh,
    /// libvirt's socket there.
    libvirt: PathBuf,
    directory: PathBuf,
    is_system: bool,
}

/// libvirt's own socket, as it is called here.
const LIBVIRT: &str = "libvirt";
/// How much is sent at a time; whoever interrupts waits for no more.
const PIECE: usize = 256 << 10;

/// How long `ssh` may take to end behind what went through it.
const PARTING: Duration = Duration::from_secs(2);

/// libvirtd's socket, or virtproxyd's, or virtqemud's.
const SEEK: &str = r#"if test "$1" = system; then set -- /run/libvirt /var/run/libvirt
else set -- "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/libvirt" "$HOME/.cache/libvirt"; fi
for directory; do for name in libvirt-sock virtqemud-sock; do
    if test -S "$directory/$name"; then printf %s "$directory/$name"; exit; fi
done; done
echo "nothing listens in $1; start libvirtd or virtqemud" >&2; exit 1"#;

/// A directory that was not there, below one that may not have been.
const MAKE: &str = r#"umask 077
directory=$1 mode=$2
above=$(dirname -- "$directory")
test -d "$above" || mkdir -p -m "$mode" -- "$above" || exit
mkdir -m "$mode" -- "$directory" && mkdir -m "$mode" -- "$directory/s" "$directory/guests" "$directory/package""#;

/// A file, its owner's alone, whole or not at all.
const PUT: &str = r#"umask 077
cat > "$1.new" || exit
if test "$(wc -c < "$1.new")" -ne "$2"; then echo "it came short" >&2; exit 1; fi
mv -- "$1.new" "$1""#;

impl Far {
    /// Logs in, for a deployment that has this directory there. Answers where libvirt is to be connected to as well.
    pub(super) fn open(
        login: &Login,
        connection: &Connection,
        plan: &Plan,
        directory: &Path,
    ) -> Result<(Self, PathBuf), String> {
        let ssh = Ssh::open(login)?;
        let libvirt = match connection.socket() {
            Some(path) => path.to_owned(),
            None => {
                let text = String::from_utf8_lossy(&ssh.answer(SEEK, &[connection.name()])?).into_owned();
                // Whoever logs in may be greeted; the answer is what comes last.
                text.lines().next_back().unwrap_or_default().into()
            }
        };
        let mut sockets = vec![(LIBVIRT.to_owned(), libvirt.clone())];
        for guest in plan.guests.iter().map(|it| it.entity) {
            for what in ["port", "console"] {
                sockets.push((format!("{guest}.{what}"), directory.join(socket(guest, what))));
            }
        }
        ssh.forward(sockets.iter().map(|(name, path)| (name.clone(), path.as_path())))?;
        let (socket, directory, is_system) =
            (ssh.socket(LIBVIRT), directory.to_owned(), connection.is_system());
        Ok((Self { ssh, libvirt, directory, is_system }, socket))
    }

    /// The deployment as that machine sees it: everything is in its directory there.
    pub(super) fn seen(&self, plan: &Plan) -> Plan {
        let images = images(plan);
        let mut seen = plan.clone();
        seen.directory.clone_from(&self.directory);
        for guest in &mut seen.guests {
            guest.disc = self.directory.join(disc(guest.entity));
            for layer in guest.machine.disks.iter_mut().flat_map(|it| &mut it.layers) {
                layer.place.path = self.directory.join(image(images[&layer.place.path]));
            }
        }
        seen
    }

    /// Brings a file there, under this name in the deployment's directory.
    fn put(&self, from: &Path, to: &str, advance: &mut dyn FnMut(u64) -> bool) -> Result<(), String> {
        let unread = |error: io::Error| format!("cannot read {}: {error}", from.display());
        let mut file = File::open(from).map_err(unread)?;
        let size = file.metadata().map_err(unread)?.len();
        let path = self.directory.join(to);
        let mut command = self.ssh.script_command(PUT, &[self.path(&path)?, &size.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("ssh cannot be run: {error}"))?;
        let mut pipe = child.stdin.take();
        let mut piece = vec![0; PIECE];
        let sent = loop {
            let count = match file.read(&mut piece) {
                Ok(0) => break Ok(()),
                Ok(count) => count,
                Err(error) => break Err(unread(error)),
            };
            // Where it takes no more, it says why in the end.
            if pipe.as_mut().is_none_or(|it| it.write_all(&piece[..count]).is_err()) {
                break Ok(());
            }
            if !advance(count as u64) {
                break Err(format!("{} was not sent to its end", from.display()));
            }
        };
        drop(pipe);
        let output = child.wait_with_output().map_err(|error| format!("ssh cannot be run: {error}"))?;
        sent?;
        let cannot = |why| format!("cannot write {}: {why}", path.display());
        self.ssh.judged(&output).map_err(cannot)
    }

    fn path<'a>(&self, path: &'a Path) -> Result<&'a str, String> {
        path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
    }
}

impl Site for Far {
    fn ground(&self) -> &dyn Ground {
        self
    }

    fn prepare(&self, plan: &Plan, is_wanted: &dyn Fn() -> bool) -> Result<(), String> {
        let mode = if self.is_system { "711" } else { "700" };
        self.ssh.answer(MAKE, &[self.path(&self.directory)?, mode])?;
        let images = images(plan);
        let mut total = 0;
        for path in images.keys() {
            total += size(path)?;
        }
        let mut progress = Progress::bytes(total);
        for (path, number) in images {
            progress.now(&format!("sending {}", path.file_name().unwrap_or_default().display()));
            // libvirt gives it to the user who runs guests.
            self.put(path, &image(number), &mut |more| {
                progress.advance(more);
                is_wanted()
            })?;
        }
        Ok(())
    }

    fn bring(&self, guest: usize, from: &Path) -> Result<(), String> {
        let directory = self.directory.join(format!("guests/{guest}"));
        let mode = if self.is_system { "711" } else { "700" };
        let script = r#"test -d "$1" || mkdir -m "$2" -- "$1""#;
        self.ssh.answer(script, &[self.path(&directory)?, mode])?;
        self.put(from, &disc(guest), &mut |_| true)
    }

    fn clear(&self) -> Result<(), String> {
        self.ssh.answer(r#"rm -rf -- "$1""#, &[self.path(&self.directory)?]).map(drop)
    }

    fn socket(&self, guest: usize, what: &str) -> PathBuf {
        self.ssh.socket(&format!("{guest}.{what}"))
    }

    fn tail(&self, guest: usize) -> io::Result<String> {
        let path = self.directory.join(log(guest));
        let words = [self.path(&path).map_err(io::Error::other)?, &TAIL.to_string()];
        let bytes = self.ssh.answer(r#"tail -c "$2" -- "$1""#, &words).map_err(io::Error::other)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn record(&self, guest: usize) -> io::Result<File> {
        let path = self.directory.join(log(guest));
        let words = [self.path(&path).map_err(io::Error::other)?];
        // Without a name: it goes with whoever reads it.
        let mut file = tempfile::tempfile()?;
        let mut command = self.ssh.script_command(r#"cat -- "$1""#, &words);
        let child = command.stdout(file.try_clone()?).stderr(Stdio::piped()).spawn()?;
        self.ssh.judged(&child.wait_with_output()?).map_err(io::Error::other)?;
        file.rewind()?;
        Ok(file)
    }

    fn explained(&self, why: String) -> String {
        // What goes through it ends a moment before it does itself.
        let is_cut = ["end of file", "Broken pipe", "reset by peer"].iter().any(|it| why.contains(it));
        match self.ssh.end(if is_cut { PARTING } else { Duration::ZERO }) {
            Some(end) => end,
            None if why.contains("Connection reset by peer") => {
                format!("{why}; is libvirt there, and listens at {}?", self.libvirt.display())
            }
            None => why,
        }
    }
}

impl Ground for Far {
    fn has(&self, path: &Path) -> Result<bool, String> {
        let output = self.ssh.script(r#"test -e "$1""#, &[self.path(path)?])?;
        match output.status.code() {
            Some(1) => Ok(false),
            _ => self.ssh.judged(&output).map(|()| true),
        }
    }

    fn run(&self, words: &[&OsStr]) -> Result<Output, String> {
        let words: Option<Vec<_>> = words.iter().map(|it| it.to_str()).collect();
        let words = words.ok_or_else(|| "a path is not UTF-8".to_owned())?;
        let output = self.ssh.script(r#"exec "$@""#, &words)?;
        if Ssh::is_absent(&output) {
            return Err(format!("{}; install what it is of there (Debian: qemu-utils)", said(&output)));
        }
        Ok(output)
    }

    fn close(&self, path: &Path) -> Result<(), String> {
        self.ssh.answer(r#"chmod 600 -- "$1""#, &[self.path(path)?]).map(drop)
    }
}

/// The files with the guests' images, and their numbers.
fn images(plan: &Plan) -> BTreeMap<&PathBuf, usize> {
    let layers = plan.guests.iter().flat_map(|it| &it.machine.disks).flat_map(|it| &it.layers);
    let mut images: BTreeMap<_, _> = layers.map(|it| (&it.place.path, 0)).collect();
    images.values_mut().enumerate().for_each(|(number, it)| *it = number);
    images
}

fn size(path: &Path) -> Result<u64, String> {
    let size = std::fs::metadata(path).map(|it| it.len());
    size.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Where an image is in the deployment's directory.
fn image(number: usize) -> String {
    format!("package/{number}")
}

/// Where a guest's disc is.
fn disc(guest: usize) -> String {
    format!("guests/{guest}/environment.iso")
}
