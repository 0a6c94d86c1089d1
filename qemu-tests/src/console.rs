//! The guest's serial console: every line with the moment at which it came.
//!
//! It only collects; what a line means is for the reader. A thread reads all the time, because a console
//! that nobody reads would stop the guest.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

/// One line of the console.
#[derive(Debug, Clone)]
pub struct Line {
    /// When its end arrived.
    pub at: Instant,
    /// Its text, without carriage return and newline.
    pub text: String,
}

/// What the console said so far, and says from now on.
#[derive(Debug, Default)]
pub struct Console {
    said: Mutex<Said>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<Line>,
    /// The line that has no end yet.
    unfinished: Vec<u8>,
    /// The guest is gone: no more lines.
    ended: bool,
}

impl Console {
    /// Follows the console behind `stream` until the guest is gone.
    pub(crate) fn follow(mut stream: UnixStream) -> Arc<Console> {
        let console = Arc::new(Console::default());
        let reader = Arc::clone(&console);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                reader.take(&chunk[..count]);
            }
            reader.said().ended = true;
            reader.grown.notify_all();
        });
        console
    }

    /// Line number `index`, waiting for it until `deadline`; `None` when it does not come by then.
    pub fn line(&self, index: usize, deadline: Instant) -> Option<Line> {
        let left = deadline.saturating_duration_since(Instant::now());
        let (said, _) = self
            .grown
            .wait_timeout_while(self.said(), left, |said| said.lines.len() <= index && !said.ended)
            .expect("the reader does not panic while it holds the lock");
        said.lines.get(index).cloned()
    }

    /// Everything so far, the unfinished line included.
    pub fn text(&self) -> String {
        let said = self.said();
        let mut text: String = said.lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
        text.push_str(&String::from_utf8_lossy(&said.unfinished));
        text
    }

    fn take(&self, bytes: &[u8]) {
        let at = Instant::now();
        let mut said = self.said();
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut said.unfinished);
                    let text = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                    said.lines.push(Line { at, text });
                }
                other => said.unfinished.push(*other),
            }
        }
        self.grown.notify_all();
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("the reader does not panic while it holds the lock")
    }
}
