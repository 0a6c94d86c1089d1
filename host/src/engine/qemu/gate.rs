//! Between the guests' hub and this machine's end of it: passes on what is meant for this machine, and nothing else.
//!
//! QEMU's user network takes whatever a hub carries as sent to itself, and answers what guests say to each other with a reset
//! (libslirp 4.7: `slirp_input` never looks at the Ethernet address). So it is not on the hub; this process stands between.
//! It ends with the hub: nobody has to stop it. Frames are those of QEMU's `stream`: a length of 32 bits before each.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::PATIENCE;

/// The longest frame of QEMU's (`NET_BUFSIZE`).
const LONGEST: usize = 4096 + 65536;
/// Bytes of an Ethernet address.
const ADDRESS: usize = 6;

/// Passes frames on until one side ends.
///
/// # Errors
/// A side is not there, or says what is no frame.
pub fn run(hub: &Path, user: &Path, host: Ipv4Addr) -> io::Result<()> {
    let (hub, user) = (connect(hub)?, connect(user)?);
    let (from, to) = (user.try_clone()?, hub.try_clone()?);
    thread::spawn(move || {
        // Whatever ends one way ends the other, too.
        let _ = pass(&from, &to, |_| true);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    pass(&hub, &user, |frame| is_meant(frame, host))
}

/// A socket that is there is listened at a moment later.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            other => return other,
        }
    }
}

fn pass(mut from: &UnixStream, mut to: &UnixStream, passes: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    let mut frame = vec![0; LONGEST];
    loop {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let size = u32::from_be_bytes(length) as usize;
        let frame = frame.get_mut(..size).ok_or(ErrorKind::InvalidData)?;
        from.read_exact(frame)?;
        if passes(frame) {
            to.write_all(&length)?;
            to.write_all(frame)?;
        }
    }
}

/// Whether a frame is for all, or for the user network, whose address is made of its own in the subnet (libslirp's `special_ethaddr`).
fn is_meant(frame: &[u8], host: Ipv4Addr) -> bool {
    let [a, b, c, d] = host.octets();
    frame.first_chunk::<ADDRESS>().is_some_and(|to| to[0] & 1 == 1 || *to == [0x52, 0x55, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::run;

    #[test]
    fn what_is_for_others_does_not_pass() {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["hub", "user"].map(|it| directory.path().join(it));
        let [hub, user] = paths.clone().map(|it| UnixListener::bind(it).expect("bound"));
        let gate = thread::spawn(move || run(&paths[0], &paths[1], [10, 77, 0, 1].into()));
        let (mut hub, _) = hub.accept().expect("connected");
        let (mut user, _) = user.accept().expect("connected");
        let framed = |text: &[u8]| [&(text.len() as u32).to_be_bytes(), text].concat();
        let to_all = framed(b"\xff\xff\xff\xff\xff\xff who has 10.77.0.1?");
        let to_it = framed(b"\x52\x55\x0a\x4d\x00\x01 to it");
        let to_another = framed(b"\x52\x54\x0a\x4d\x00\x01 to another guest");
        hub.write_all(&[&to_another[..], &to_all, &framed(b""), &to_it].concat()).expect("written");
        let mut seen = vec![0; to_all.len() + to_it.len()];
        user.read_exact(&mut seen).expect("passed on");
        assert_eq!(seen, [to_all, to_it].concat());

        // The other way, everything does.
        user.write_all(&to_another).expect("written");
        let mut seen = vec![0; to_another.len()];
        hub.read_exact(&mut seen).expect("passed on");
        assert_eq!(seen, to_another);

        // It ends with the hub.
        drop(hub);
        gate.join().expect("no panic").expect("no error");
    }
}
