//! The socket of the process that runs, by which commands of this machine reach it (unix(7)).
//!
//! Decides who may: root, by the mode of the socket. The process that holds the lock beside it is the one that listens; a
//! socket whose listener is gone is taken over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inotify::FileWatch;
use super::net::connect_unix;
use super::poll::wait_for;
use super::{Error, Result, Root};

/// Where it is.
const SOCKET: &str = "/run/ovf-agent/control";

/// Listens. Dropped, the socket is gone.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Begins to listen in the tree of `root`.
    ///
    /// # Errors
    /// Another process listens there ([`io::ErrorKind::AddrInUse`]), or the socket cannot be made.
    pub fn listen(root: &Root) -> Result<Self> {
        let path = place(root);
        let error = |source| Error::new("listen at", &path, source);
        root.make_dir(Path::new(SOCKET).parent().unwrap_or(Path::new("/")), 0o755)?;
        match connect_unix(&path) {
            Ok(_) => return Err(error(io::ErrorKind::AddrInUse.into())),
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).map_err(error)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(error)?;
        // Nobody but root may connect; that is asked for when somebody does (unix(7)).
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        Ok(Self { listener, path })
    }

    /// The next who has connected; `None` where there is nobody now.
    pub fn accept(&self) -> Option<UnixStream> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to the process that runs in the tree of `root`.
///
/// # Errors
/// None does, or we are not root.
pub fn connect(root: &Root) -> Result<UnixStream> {
    let path = place(root);
    let stream = connect_unix(&path).and_then(|stream| stream.set_nonblocking(false).map(|()| stream));
    stream.map_err(|source| Error::new("connect to", path, source))
}

/// A wait for a process that listens.
#[derive(Debug)]
pub struct Appearing(FileWatch);

impl Appearing {
    /// Begins to watch the place of the socket.
    ///
    /// # Errors
    /// The kernel has no more of that for us.
    pub fn watch(root: &Root) -> Result<Self> {
        let mut files = FileWatch::new().map_err(|error| Error::new("watch", SOCKET, error))?;
        files.look(root, 0, Path::new(SOCKET));
        Ok(Self(files))
    }

    /// Waits until something has happened there, a second at the most: between its making and its first listening nothing does,
    /// and nobody can connect. No longer than `time`.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wait(&mut self, root: &Root, time: Duration) -> Result<()> {
        let error = |error| Error::new("watch", SOCKET, error);
        wait_for(&self.0, Some(time.min(Duration::from_secs(1)))).map_err(error)?;
        self.0.events().map_err(error)?;
        self.0.look(root, 0, Path::new(SOCKET));
        Ok(())
    }
}

fn place(root: &Root) -> PathBuf {
    root.outside(Path::new(SOCKET))
}
