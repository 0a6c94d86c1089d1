//! A deployment: what `up` has made, for those who come after it.
//!
//! Decides where it lies, that one command at a time changes it, and what is remembered: the package, what was chosen for
//! it, and what has happened. All of it is one directory, readable by its owner alone, since property values are in it;
//! without that directory nothing of a deployment is left.

#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::finding::quoted;
use crate::order::Step;
use crate::secret::Secret;
use crate::suggest;

/// What is remembered of a deployment. What is read from it is what this program has written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// What tells it from all others of whatever name: hexadecimal digits.
    pub key: String,
    /// The package, from the root.
    pub package: PathBuf,
    /// The digest of its descriptor.
    pub descriptor: String,
    /// The deployment option.
    pub configuration: Option<String>,
    /// What was given for properties: names and values.
    pub properties: Vec<(String, Secret)>,
    /// What the guests are told of their platform, as `name=value`.
    pub platform: Vec<String>,
    /// What runs the guests.
    pub engine: Kind,
    /// The addresses of the guests, and what leads to them.
    pub subnet: Option<String>,
    /// Published ports, as `8080:10.77.0.10:80`.
    pub published: Vec<String>,
    /// The guests, by their places among the package's entities, and their ids.
    pub guests: Vec<(usize, String)>,
    /// Their order, so that they can be stopped whatever becomes of the package.
    pub steps: Vec<Step>,
    /// Guests that may have another environment than the properties say, or a disc with another one: a `set` has not come to
    /// its end. The next one sends them theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<usize>,
}

/// What runs a deployment's guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// QEMU processes of this machine.
    Qemu {
        /// The program.
        program: PathBuf,
        /// `kvm` or `tcg`.
        accelerator: String,
    },
    /// Domains of a libvirt.
    Libvirt {
        /// Its URI.
        connect: String,
        /// The QEMU that it is to run.
        program: PathBuf,
        /// `kvm` or `tcg`.
        accelerator: String,
        /// The deployment's directory there, where it is on another machine.
        far: Option<PathBuf>,
    },
}

/// Where deployments are.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// A deployment that is open: nobody else changes it meanwhile, unless it was opened to be looked at.
#[derive(Debug)]
pub struct Deployment {
    directory: PathBuf,
    /// What is remembered of it.
    pub record: Record,
    /// Locked as long as it is open, but for who only looks.
    _lock: Option<File>,
}

/// Why there is no deployment to work on, for people.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command is to be given in another way.
    Usage(String),
    /// Another command is at work.
    Busy(String),
    /// Something cannot be read or written.
    Failed(String),
}

/// A word that no other deployment has: there is no need that nobody could guess it.
pub fn key() -> String {
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}

/// Characters of a name: it is a part of paths, of which sockets have few.
const LONGEST_NAME: usize = 40;
/// Bytes of the longest socket's path within a deployment's directory, and of one at all (unix(7)).
pub(crate) const SOCKET: usize = "/s/100000.monitor".len();
pub(crate) const SOCKETS: usize = 107;

const RECORD: &str = "deployment.json";
const LOCK: &str = "lock";
/// What has happened, an event a line.
pub const EVENTS: &str = "events.jsonl";

impl Store {
    /// The one in this directory; otherwise the usual one.
    ///
    /// # Errors
    /// Nobody knows where that would be.
    pub fn at(directory: Option<&Path>) -> Result<Self, Refusal> {
        let usual = || {
            if let Some(root) = std::env::var_os("OVF_HOST_STATE").filter(|it| !it.is_empty()) {
                return Some(PathBuf::from(root));
            }
            if rustix::process::geteuid().is_root() {
                return Some(PathBuf::from("/var/lib/ovf-host"));
            }
            // The XDG base directory specification; what is no absolute path is none.
            let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
            let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
            Some(state.or_else(home)?.join("ovf-host"))
        };
        let root = directory.map(Path::to_owned).or_else(usual);
        let root = root.ok_or_else(|| {
            Refusal::Usage("nobody says where deployments are kept; name a directory with --state".to_owned())
        })?;
        let root = std::path::absolute(&root)
            .map_err(|error| Refusal::Failed(format!("there is no current directory: {error}")))?;
        Ok(Self { root })
    }

    /// The names of all deployments.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Refusal> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Refusal::Failed(cannot("read", &self.root, &error))),
        };
        let mut names: Vec<_> = entries
            .filter_map(|it| it.ok()?.file_name().into_string().ok())
            .filter(|it| is_name(it) && is_one(&self.root.join(it)))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The directory of the one of this name, whether it is there or not.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether a deployment may have this name here, whether there is one or not.
    ///
    /// # Errors
    /// It may not, and why.
    pub fn vet(&self, name: &str) -> Result<(), Refusal> {
        if !is_name(name) {
            let message = format!(
                "{} cannot be the name of a deployment: letters, digits, dots, hyphens and underscores make one, {LONGEST_NAME} at most; give one with --name",
                quoted(name)
            );
            return Err(Refusal::Usage(message));
        }
        let directory = self.root.join(name);
        let longest = directory.as_os_str().len() + SOCKET;
        if longest > SOCKETS {
            let message = format!(
                "{} is {} bytes too long for the sockets in it; name a shorter directory with --state",
                directory.display(),
                longest - SOCKETS
            );
            return Err(Refusal::Usage(message));
        }
        Ok(())
    }

    /// Makes a new one.
    ///
    /// # Errors
    /// There is one of this name, or it cannot be written.
    pub fn create(&self, record: Record) -> Result<Deployment, Refusal> {
        let name = &record.name;
        self.vet(name)?;
        let directory = self.root.join(name);
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        if !self.root.is_dir() {
            // Others may pass through, to a deployment that lets libvirt's QEMU in, but do not see which there are.
            let made = DirBuilder::new().recursive(true).mode(0o711).create(&self.root);
            made.map_err(|error| Refusal::Failed(cannot("make", &self.root, &error)))?;
        }
        let made = make(&directory).or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists if is_half_made(&directory) => {
                fs::remove_dir_all(&directory)?;
                make(&directory)
            }
            _ => Err(error),
        });
        made.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let remedy = match is_at_work(&directory) {
                    true => "another ovf-host is at work on it: wait for it".to_owned(),
                    false => match read(&directory) {
                        Ok(_) => format!("end it with `ovf-host down {name}`"),
                        Err(Refusal::Usage(why) | Refusal::Busy(why) | Refusal::Failed(why)) => why,
                    },
                };
                Refusal::Usage(format!(
                    "there is a deployment {} already; {remedy}, or give this one another name with --name",
                    quoted(name)
                ))
            }
            _ => Refusal::Failed(cannot("make", &directory, &error)),
        })?;
        let made = || -> io::Result<Deployment> {
            // Whoever may read it may take it.
            let mut options = OpenOptions::new();
            let lock = options.write(true).create_new(true).mode(0o600).open(directory.join(LOCK))?;
            lock.lock()?;
            for part in ["s", "guests"] {
                make(&directory.join(part))?;
            }
            let deployment = Deployment { directory: directory.clone(), record, _lock: Some(lock) };
            deployment.save()?;
            Ok(deployment)
        };
        made().map_err(|error| {
            // Nobody has seen it yet; what is left of it, if it cannot be removed either, `down` removes.
            let _ = fs::remove_dir_all(&directory);
            Refusal::Failed(cannot("write", &directory, &error))
        })
    }

    /// Opens the one of this name, or the only one.
    ///
    /// # Errors
    /// There is none, it has to be said which, or another command is at work on it.
    pub fn open(&self, name: Option<&str>) -> Result<Deployment, Refusal> {
        let directory = self.find(name)?;
        let path = directory.join(LOCK);
        let lock = File::open(&path).map_err(|error| Refusal::Failed(cannot("open", &path, &error)))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let shown = directory.file_name().unwrap_or_default().to_string_lossy();
                let message = format!(
                    "another ovf-host is at work on {}; wait for it, or interrupt it",
                    quoted(&shown)
                );
                return Err(Refusal::Busy(message));
            }
            Err(TryLockError::Error(error)) => return Err(Refusal::Failed(cannot("lock", &path, &error))),
        }
        let record = read(&directory)?;
        Ok(Deployment { directory, record, _lock: Some(lock) })
    }

    /// Opens it as [`Store::open`] does, whoever is at work on it, for who changes nothing.
    ///
    /// # Errors
    /// There is none, or it has to be said which.
    pub fn look(&self, name: Option<&str>) -> Result<Deployment, Refusal> {
        let directory = self.find(name)?;
        let record = read(&directory)?;
        Ok(Deployment { directory, record, _lock: None })
    }

    /// The directory of the one of this name, or of the only one.
    ///
    /// # Errors
    /// There is none, or it has to be said which.
    pub fn find(&self, name: Option<&str>) -> Result<PathBuf, Refusal> {
        let names = self.names()?;
        let all = || names.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", ");
        match (name, &names[..]) {
            (Some(name), _) if names.iter().any(|it| it == name) => Ok(self.root.join(name)),
            (_, []) => {
                let message =
                    format!("nothing is deployed ({}); `ovf-host up PACKAGE` does so", self.root.display());
                Err(Refusal::Usage(message))
            }
            (Some(name), _) => {
                let meant = suggest::meant(name, names.iter().map(String::as_str));
                Err(Refusal::Usage(format!("there is no deployment {}; {meant}", quoted(name))))
            }
            (None, [only]) => Ok(self.root.join(only)),
            (None, _) => Err(Refusal::Usage(format!(
                "there are several deployments, {}; say which with --name",
                all()
            ))),
        }
    }
}

/// Whether whoever made it was killed before anything was remembered, and so before anything was started.
fn is_half_made(directory: &Path) -> bool {
    let is_nobodys = || File::open(directory.join(LOCK)).is_ok_and(|it| it.try_lock().is_ok());
    !directory.join(RECORD).exists() && is_nobodys()
}

/// Whether another command has it locked.
fn is_at_work(directory: &Path) -> bool {
    let lock = File::open(directory.join(LOCK));
    lock.is_ok_and(|it| matches!(it.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Whether this is a deployment's directory. One that we may not look into is somebody's, and is not to be passed over.
fn is_one(directory: &Path) -> bool {
    match fs::metadata(directory.join(LOCK)) {
        Ok(lock) => lock.is_file(),
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// What has happened in the deployment of this directory so far; nothing where it cannot be read, or is not there yet.
pub fn told(directory: &Path) -> String {
    fs::read_to_string(directory.join(EVENTS)).unwrap_or_default()
}

/// What is remembered of the deployment in this directory.
///
/// # Errors
/// It cannot be read.
pub fn read(directory: &Path) -> Result<Record, Refusal> {
    let path = directory.join(RECORD);
    let text = fs::read(&path).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound => {
                "; nothing of it was started yet, and the next `ovf-host up` makes it anew"
            }
            _ => "",
        };
        Refusal::Failed(cannot("read", &path, &error) + remedy)
    })?;
    serde_json::from_slice(&text)
        .map_err(|_| {
            // What of it runs is not ours to guess at: the machine's own tools see it.
            let message = format!(
                "{} is broken, or of another version of ovf-host, by which `down` ends the guests; without one, end the \
                 processes that work in {}, or libvirt's domains of its name, and remove it",
                path.display(),
                directory.display()
            );
            Refusal::Failed(message)
        })
}

impl Deployment {
    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes what is remembered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        serde_json::to_writer_pretty(&mut file, &self.record)?;
        file.write_all(b"\n")?;
        file.persist(self.directory.join(RECORD)).map_err(|error| error.error)?;
        Ok(())
    }

    /// A directory of a guest's own, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn guest(&self, entity: usize) -> io::Result<PathBuf> {
        let path = self.directory.join(format!("guests/{entity}"));
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    /// The file that events are added to.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn events(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.directory.join(EVENTS))
    }

    /// Removes all of it. Nothing of it runs any more.
    ///
    /// # Errors
    /// Something is left.
    pub fn remove(self) -> Result<(), Refusal> {
        fs::remove_dir_all(&self.directory)
            .map_err(|error| Refusal::Failed(cannot("remove", &self.directory, &error)))
    }
}

/// The name of a deployment, made of an id.
pub fn name_of(id: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_') { it } else { '-' };
    let name: String = id.chars().map(plain).take(LONGEST_NAME).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "appliance".to_owned() } else { name.to_owned() }
}

fn is_name(name: &str) -> bool {
    name == name_of(name)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests;
