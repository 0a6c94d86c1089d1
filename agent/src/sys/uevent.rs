//! Kernel uevents, straight from netlink: no udev needed (netlink(7), Documentation/core-api/kobject.rst).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, socket,
};

/// Multicast group of the kernel itself; udev's own, processed events are group 2.
const KERNEL_GROUP: u32 = 1;

/// One event of the kernel's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `change`, `remove`, ...
    pub action: String,
    /// `block`, `virtio-ports`, ...
    pub subsystem: String,
    /// The kernel's name of the device, the last part of its path: `sr0`, `vport1p1`.
    pub name: String,
}

/// What one read of the socket gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// An event.
    Event(Uevent),
    /// More came than the socket holds: events were lost, so look at everything again.
    Lost,
    /// Nothing more for now.
    Nothing,
}

/// A socket that hears all uevents of this network namespace.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Starts to listen.
    ///
    /// # Errors
    /// Uevents are not to be had here, for example in a sandbox without netlink.
    pub fn listen() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self(fd))
    }

    /// The next event; messages that are not the kernel's are passed over.
    pub fn receive(&self) -> Received {
        let mut buffer = [0_u8; 8192];
        loop {
            match recvfrom::<NetlinkAddr>(self.0.as_raw_fd(), &mut buffer) {
                // A process can send to this group too where it has CAP_NET_ADMIN; the kernel's port id is 0.
                Ok((len, Some(sender))) if sender.pid() == 0 => {
                    if let Some(event) = parse(&buffer[..len]) {
                        return Received::Event(event);
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Received::Lost,
                Err(_) => return Received::Nothing,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `action@path NUL KEY=value NUL ...`
fn parse(message: &[u8]) -> Option<Uevent> {
    let text = str::from_utf8(message).ok()?;
    let mut fields = text.split('\0');
    let (action, path) = fields.next()?.split_once('@')?;
    let subsystem = fields.find_map(|field| field.strip_prefix("SUBSYSTEM="))?;
    let name = path.rsplit('/').next()?;
    Some(Uevent { action: action.to_owned(), subsystem: subsystem.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_message_is_an_action_a_path_and_fields() {
        let swap =
            b"change@/devices/pci0000:00/block/sr0\0ACTION=change\0SUBSYSTEM=block\0DISK_MEDIA_CHANGE=1\0";
        let event = parse(swap).expect("a well-formed message");
        assert_eq!((&*event.action, &*event.subsystem, &*event.name), ("change", "block", "sr0"));
        for junk in [&b""[..], b"libudev\0\xfe\xed", b"add@/x\0NOTHING=1\0", b"\xff@/x\0SUBSYSTEM=block\0"] {
            assert_eq!(parse(junk), None, "{junk:?}");
        }
    }
}
