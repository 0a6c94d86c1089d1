//! Somebody at a guest's console.
//!
//! Decides what is copied between a console and whoever sits at it, and when that ends: by Ctrl-] at a terminal, by a signal, or
//! when the guest's console closes. A terminal is raw meanwhile, so that all keys but that one are the guest's, and is what it
//! was before whatever ends it. Does not decide how a console is connected to.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Ctrl-], as telnet and virsh have it.
const ESCAPE: u8 = 0x1d;
/// Bytes that wait for a guest that does not read.
const ROOM: usize = 64 << 10;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Whoever sat there left.
    Left,
    /// The guest's console is closed: it does not run any more.
    Closed,
    /// A signal.
    Interrupted,
}

/// Whoever sits at a console.
#[derive(Debug)]
pub struct Seat<'a> {
    input: BorrowedFd<'a>,
    signals: UnixStream,
    /// How the terminal was, where the input is one.
    before: Option<Termios>,
}

impl<'a> Seat<'a> {
    /// On this input. From here on, signals that ask for an end are seen, and a terminal is raw.
    ///
    /// # Errors
    /// The system's.
    pub fn take(input: BorrowedFd<'a>) -> io::Result<Self> {
        let (signals, end) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::low_level::pipe::register(signal, end.try_clone()?)?;
        }
        let before = if input.is_terminal() { Some(tcgetattr(input)?) } else { None };
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(input, OptionalActions::Now, &raw)?;
        }
        Ok(Self { input, signals, before })
    }

    /// Copies until something ends it.
    ///
    /// # Errors
    /// The system's, of whoever sits there: its output may be closed.
    pub fn sit(&self, mut console: UnixStream, out: &mut impl Write) -> io::Result<End> {
        console.set_nonblocking(true)?;
        let mut input = File::from(self.input.try_clone_to_owned()?);
        let (mut typed, mut is_over, mut buffer) = (Vec::new(), false, [0; 4096]);
        loop {
            // A pipe waits for a guest that does not read; keys at a terminal do not, or nobody could leave.
            let hears = !is_over && (typed.len() < ROOM || self.before.is_some());
            let wants = if typed.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let mut sources = vec![
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(console.as_fd(), wants),
            ];
            if hears {
                sources.push(PollFd::from_borrowed_fd(self.input, PollFlags::IN));
            }
            match poll(&mut sources, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let seen: Vec<_> = sources.iter().map(PollFd::revents).collect();
            if !seen[0].is_empty() {
                return Ok(End::Interrupted);
            }
            if hears && !seen[2].is_empty() {
                let count = match input.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if is_later(&error) => continue,
                    // So it is with a terminal that is gone.
                    Err(_) => 0,
                };
                if count == 0 && self.before.is_some() {
                    return Ok(End::Left);
                }
                is_over = count == 0;
                let keys = &buffer[..count];
                let escape = keys.iter().position(|&it| it == ESCAPE && self.before.is_some());
                // Keys for which there is no room are lost, as on any serial line; nothing of a pipe is.
                let room = if self.before.is_some() { ROOM.saturating_sub(typed.len()) } else { count };
                typed.extend(keys[..escape.unwrap_or(count)].iter().take(room));
                if escape.is_some() {
                    // What was typed before it is the guest's, as far as it takes it at once.
                    let _ = console.write(&typed);
                    return Ok(End::Left);
                }
            }
            if !typed.is_empty() {
                match console.write(&typed) {
                    Ok(count) => drop(typed.drain(..count)),
                    Err(error) if is_later(&error) => {}
                    // What it said before is still to be read.
                    Err(_) => typed.clear(),
                }
            }
            if !seen[1].is_empty() {
                match console.read(&mut buffer) {
                    Ok(0) => return Ok(End::Closed),
                    Ok(count) => {
                        out.write_all(&buffer[..count])?;
                        out.flush()?;
                    }
                    Err(error) if is_later(&error) => {}
                    Err(_) => return Ok(End::Closed),
                }
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // One that hung up has nothing to be set.
            let _ = tcsetattr(self.input, OptionalActions::Now, before);
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
