//! Other people's programs: started without us to wait for them, and ended with all that they started.
//!
//! Decides how one is run so that it can neither hold us up nor tell what it was given: in a process group of its own,
//! with the input and the variables that it is meant to have and no others, and its output in a file that only root can
//! read. What it is started for, and how long it may take, is decided in `checks`; where systemd is, `checks` has it do the
//! same. Input may hold secrets, so it is in memory that has no name and that nobody can change (memfd_create(2)).
//!
//! That it has ended is told by a descriptor (pidfd_open(2), Linux 5.3), so the loop can wait for it like for all else.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, openat};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{AccessFlags, Pid, UnlinkatFlags, access, unlinkat};

use super::root::split;
use super::{Error, Result, Root};

/// Where a program is looked for that is named without a directory, and what it gets as its `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The only language whose messages people can be expected to compare.
pub const LANG: &str = "C";

/// What ends a program that writes a larger file than it may.
pub const SIGXFSZ: i32 = libc::SIGXFSZ;

/// A file for what a program writes, which nobody but root can read.
#[derive(Debug)]
pub struct Output {
    dir: OwnedFd,
    path: PathBuf,
    file: File,
}

impl Output {
    /// Makes it anew, and its directory if need be.
    ///
    /// # Errors
    /// The directory or the file cannot be made.
    pub fn create(root: &Root, path: &Path) -> Result<Self> {
        let error = |source| Error::new("create", path, source);
        let (parent, name) = split(path).ok_or_else(|| error(io::ErrorKind::InvalidInput.into()))?;
        root.make_dir(parent, 0o755)?;
        let dir = root.trusted_dir(parent).map_err(error)?;
        match unlinkat(&dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(error(errno.into())),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_APPEND | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = openat(&dir, name.as_os_str(), flags, mode).map_err(|errno| error(errno.into()))?;
        Ok(Self { dir, path: path.to_owned(), file: File::from(file) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much is in it.
    pub fn written(&self) -> u64 {
        fstat(&self.file).map_or(0, |stat| stat.st_size as u64)
    }

    /// Removes it. One that cannot be removed goes with the next boot.
    pub fn remove(self) {
        if let Some(name) = self.path.file_name() {
            let _ = unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Removes such files from where outputs are.
///
/// # Errors
/// The directory cannot be looked at, or a file not be removed.
pub fn forget(root: &Root, directory: &Path, is_old: impl Fn(&str) -> bool) -> Result<()> {
    for name in root.list(directory)?.iter().filter(|name| is_old(name)) {
        let error = |source| Error::new("remove", directory.join(name), source);
        let dir = root.trusted_dir(directory).map_err(error)?;
        unlinkat(&dir, name.as_str(), UnlinkatFlags::NoRemoveDir).map_err(|errno| error(errno.into()))?;
    }
    Ok(())
}

/// What a program finds on its standard input.
#[derive(Debug)]
pub struct Input(File);

impl Input {
    /// Of these parts, one after the other.
    ///
    /// # Errors
    /// There is no memory for it, or there are too many descriptors.
    pub fn new(parts: &[impl AsRef<[u8]>]) -> io::Result<Self> {
        // MFD_NOEXEC_SEAL: Linux 6.3 and newer can be told to make no others.
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let plain = flags | MFdFlags::from_bits_retain(8);
        let fd = memfd_create("input", plain).or_else(|_| memfd_create("input", flags))?;
        let mut file = File::from(fd);
        parts.iter().try_for_each(|part| file.write_all(part.as_ref()))?;
        file.rewind()?;
        let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals | SealFlag::F_SEAL_SEAL))?;
        Ok(Self(file))
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The program that `name` means, if there is one that can be executed.
pub fn find(name: &str) -> Option<PathBuf> {
    let can_run = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_absolute() && can_run(path));
    }
    PATH.split(':').map(|directory| Path::new(directory).join(name)).find(can_run)
}

/// Whether the file at `path` of a machine, which need not be this one, is one that somebody may execute.
///
/// # Errors
/// There is no such file, or it cannot be looked at.
pub fn can_run(machine: &Root, path: &Path) -> io::Result<bool> {
    let stat = fstat(machine.resolve(path, OFlag::O_PATH)?)?;
    let is_file = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    Ok(is_file && stat.st_mode & 0o111 != 0)
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// How a program is to be run.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program.
    pub program: &'a Path,
    /// What follows its name.
    pub arguments: &'a [String],
    /// Variables besides `PATH` and `LANG`.
    pub variables: &'a [(String, String)],
    /// What it reads, if anything.
    pub input: Option<&'a Input>,
    /// What it writes to.
    pub output: &'a Output,
    /// The largest file that it may make.
    pub limit: Option<u64>,
}

/// A program that runs. Dropped, it is ended, with all that it has started in its process group.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pidfd: OwnedFd,
    waited: bool,
}

impl Program {
    /// Starts one.
    ///
    /// # Errors
    /// It cannot be executed.
    pub fn start(start: Start<'_>) -> io::Result<Self> {
        let Start { program, arguments, variables, input, output, limit } = start;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).env("LANG", LANG).current_dir("/");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        match input {
            Some(input) => command.stdin(input.0.try_clone()?),
            None => command.stdin(Stdio::null()),
        };
        command.stdout(output.file.try_clone()?).stderr(output.file.try_clone()?);
        command.process_group(0);
        let prepare = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // No core file of what may hold a secret.
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            if let Some(limit) = limit {
                setrlimit(Resource::RLIMIT_FSIZE, limit, limit)?;
            }
            umask(Mode::from_bits_truncate(0o077));
            Ok(())
        };
        // SAFETY: `prepare` makes four system calls that take numbers, and neither allocates nor locks.
        unsafe { command.pre_exec(prepare) };
        let mut child = command.spawn()?;
        match pidfd_open(child.id()) {
            Ok(pidfd) => Ok(Self { child, pidfd, waited: false }),
            Err(error) => {
                // Nothing could tell us of its end.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// A descriptor that turns readable when it ends.
    ///
    /// # Errors
    /// There are too many.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// How it ended; what it has started and left behind is ended then, too.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] as long as it runs.
    pub fn ended(&mut self) -> io::Result<Ended> {
        // It is left a zombie for the moment, so that the group's number is still its own.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let status = waitid(Id::Pid(self.pid()), flags)?;
        let ended = match status {
            WaitStatus::Exited(_, status) => Ended::Exit(status),
            WaitStatus::Signaled(_, signal, _) => Ended::Signal(signal as i32),
            _ => return Err(io::ErrorKind::WouldBlock.into()),
        };
        self.end();
        Ok(ended)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn end(&mut self) {
        if !self.waited {
            let _ = killpg(self.pid(), Signal::SIGKILL);

            let _ = self.child.kill();
            let _ = self.child.wait();
            self.waited = true;
        }
    }
}

/// Readable when it has ended.
impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// A descriptor that turns readable when a child of ours ends.
pub(super) fn pidfd_open(child: u32) -> io::Result<OwnedFd> {
    let pid = libc::c_long::from(child);
    // SAFETY: pidfd_open(2) takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0 as libc::c_long) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made above, and nobody else has it; it is close-on-exec already.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    debug_assert!(fd.as_raw_fd() > 2);
    Ok(fd)
}
