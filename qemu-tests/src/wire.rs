//! A stream socket read by lines and by counts, each read with a deadline.
//!
//! QMP and the control shell both speak in lines; the control shell adds counted bytes. Nothing here
//! knows either. A deadline is `SO_RCVTIMEO` set to what is left of it, so nobody polls or sleeps.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// One end of a stream socket with what has been read of it but not yet taken.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> Wire {
        Wire { stream, pending: Vec::new() }
    }

    /// Sends all of `bytes`; a peer that does not read them within `within` is an error.
    pub(crate) fn send(&mut self, bytes: &[u8], within: Duration) -> Result<()> {
        self.stream.set_write_timeout(Some(within)).context("cannot set the socket's deadline")?;
        self.stream.write_all(bytes).with_context(|| format!("cannot send {} bytes", bytes.len()))
    }

    /// The next line without its newline.
    pub(crate) fn line(&mut self, deadline: Instant) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.pending[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.take(searched + at + 1);
                line.pop();
                return Ok(line);
            }
            searched = self.pending.len();
            self.fill(deadline)?;
        }
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize, deadline: Instant) -> Result<Vec<u8>> {
        while self.pending.len() < count {
            self.fill(deadline)?;
        }
        Ok(self.take(count))
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.pending.split_off(count);
        std::mem::replace(&mut self.pending, rest)
    }

    fn fill(&mut self, deadline: Instant) -> Result<()> {
        // A timeout of zero would mean "for ever" to the kernel.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).context("cannot set the socket's deadline")?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("the other side closed the connection"),
            Ok(count) => self.pending.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("no answer in time")
            }
            Err(error) => return Err(error).context("cannot read from the socket"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn lines_and_counts_are_taken_in_turn() {
        let (here, mut there) = UnixStream::pair().expect("a socket pair needs nothing");
        there.write_all(b"7 5\nab\ncdrest").expect("the other end is open");
        let mut wire = Wire::new(here);
        assert_eq!(wire.line(soon()).expect("a whole line is there"), b"7 5");
        assert_eq!(wire.bytes(5, soon()).expect("five bytes are there"), b"ab\ncd");
        drop(there);
        let end = wire.line(soon()).expect_err("the rest is no line");
        assert_eq!(end.to_string(), "the other side closed the connection");
    }

    #[test]
    fn a_silent_peer_ends_at_the_deadline() {
        let (here, _there) = UnixStream::pair().expect("a socket pair needs nothing");
        let begun = Instant::now();
        let late = Wire::new(here).line(begun + Duration::from_millis(20)).expect_err("nobody writes");
        assert_eq!(late.to_string(), "no answer in time");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
