//! Somebody who speaks to the agent, the host or a program of this machine: what of his words has been read, and how much of
//! them is taken at a time.
//!
//! Decides the length of a turn, so that one who talks without end keeps nobody else waiting, and that one who has left in the
//! middle of a line is not heard out. What a line means is decided by `protocol`.

#![forbid(unsafe_code)]

use std::io;

use zeroize::{Zeroize, Zeroizing};

use crate::protocol::{Answer, FromHost, Inbox};
use crate::sys::port::Moved;

/// What one read of a port's ring buffer gives at most; the kernel hands out no more at a time.
const PIECE: usize = 4096;
/// So many pieces are read in one turn, and so many messages taken.
const PIECES: usize = 64;
const MESSAGES: usize = 32;

/// What has been read, and is not taken yet.
pub(super) struct Hearing {
    inbox: Inbox,
    /// The last piece, and where what was not looked at begins and ends.
    piece: Zeroizing<Vec<u8>>,
    at: usize,
    end: usize,
    /// What is left of this turn.
    pieces: usize,
    messages: usize,
    has_more: bool,
}

impl Hearing {
    /// Nothing was said yet, and no line will be longer than `limit`.
    pub(super) fn new(limit: usize) -> Self {
        let piece = Zeroizing::new(vec![0; PIECE]);
        Self { inbox: Inbox::new(limit), piece, at: 0, end: 0, pieces: 0, messages: 0, has_more: false }
    }

    /// Whether the last turn ended before there was nothing more to read; no event will tell again.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// A turn begins.
    pub(super) fn begin(&mut self) {
        (self.pieces, self.messages, self.has_more) = (PIECES, MESSAGES, true);
    }

    /// The next message of this turn; `None` where there is nothing more, or the turn is over.
    ///
    /// # Errors
    /// Of `read`, which puts what comes next into a buffer.
    pub(super) fn next(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> io::Result<Moved>,
    ) -> io::Result<Option<Result<FromHost, Answer>>> {
        loop {
            let mut rest = &self.piece[self.at..self.end];
            let message = if self.messages > 0 { self.inbox.take(&mut rest) } else { return Ok(None) };
            self.at = self.end - rest.len();
            if message.is_some() {
                self.messages -= 1;
                return Ok(message);
            }
            if self.pieces == 0 {
                return Ok(None);
            }
            self.pieces -= 1;
            (self.at, self.end) = (0, 0);
            match read(&mut self.piece)? {
                Moved::Bytes(count) => self.end = count,
                nothing => {
                    if nothing == Moved::Away {
                        self.inbox.reset();
                    }
                    self.piece.as_mut_slice().zeroize();
                    self.has_more = false;
                    return Ok(None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hearing, MESSAGES, PIECE, PIECES};
    use crate::protocol::FromHost;
    use crate::sys::port::Moved;

    /// Hears what is in `said`, of which `read` gives a piece at a time, and then `last`.
    fn turn(hearing: &mut Hearing, said: &mut &[u8], last: Moved) -> usize {
        hearing.begin();
        let mut count = 0;
        let read = |buffer: &mut [u8], said: &mut &[u8]| {
            let (piece, rest) = said.split_at(said.len().min(buffer.len()));
            buffer[..piece.len()].copy_from_slice(piece);
            *said = rest;
            if piece.is_empty() { last } else { Moved::Bytes(piece.len()) }
        };
        while hearing.next(|buffer| Ok(read(buffer, said))).expect("nothing fails").is_some() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_turn_ends_however_much_is_said() {
        let mut hearing = Hearing::new(usize::MAX);
        let queries = "{\"type\":\"query\",\"id\":\"1\"}\n".repeat(3 * MESSAGES);
        let mut said = queries.as_bytes();
        for _ in 0..3 {
            assert!(turn(&mut hearing, &mut said, Moved::Nothing) == MESSAGES && hearing.has_more());
        }
        assert_eq!((turn(&mut hearing, &mut said, Moved::Nothing), hearing.has_more()), (0, false));

        for silence in ["\n", "x"] {
            let much = silence.repeat((PIECES + 1) * PIECE);
            let mut said = much.as_bytes();
            assert!(turn(&mut hearing, &mut said, Moved::Nothing) == 0 && hearing.has_more());
            assert_eq!(said.len(), PIECE, "of {silence:?}");
            assert!(turn(&mut hearing, &mut said, Moved::Nothing) == 0 && !hearing.has_more());
        }
    }

    /// A connection leaves no mark among the bytes, but that nobody is there can be read.
    #[test]
    fn half_a_line_ends_with_its_host_and_not_before() {
        let halves = [&b"\n{\"type\":\"query\","[..], b"\"id\":\"1\"}\n"];
        for (between, heard) in [(Moved::Nothing, 1), (Moved::Away, 1)] {
            let mut hearing = Hearing::new(usize::MAX);
            let (mut first, mut second) = (halves[0], halves[1]);
            assert_eq!(turn(&mut hearing, &mut first, between), 0);
            hearing.begin();
            let mut read = |buffer: &mut [u8]| {
                buffer[..second.len()].copy_from_slice(second);
                let count = std::mem::take(&mut second).len();
                Ok(if count == 0 { Moved::Nothing } else { Moved::Bytes(count) })
            };
            let message = hearing.next(&mut read).expect("nothing fails");
            assert_eq!(usize::from(message.is_some()), heard);
            let is_query = matches!(message, Some(Ok(FromHost::Query { .. })));
            assert_eq!(is_query, between == Moved::Nothing, "after {between:?}");
        }
    }
}
