//! How the demo's lines look: columns, and colours where somebody sees them.
//!
//! Plain text everywhere else: colours need a terminal and no `NO_COLOR` (no-color.org).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what the demo shows is its purpose")]

use std::io::IsTerminal;
use std::time::Duration;

/// Who did something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    /// This program, as the platform.
    Host,
    /// The guest's kernel and programs.
    Guest,
    /// The agent, by its log.
    Agent,
    /// The agent, by a report that the host received.
    Report,
}

/// Where the demo is shown.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

impl Screen {
    pub(crate) fn new() -> Screen {
        // An empty NO_COLOR counts as none.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { colours: std::io::stdout().is_terminal() && !unwanted }
    }

    /// A title with room above it.
    pub(crate) fn heading(&self, text: &str) {
        println!("\n{}\n", self.painted(BOLD, text));
    }

    /// Something that happened so long after power on.
    pub(crate) fn event(&self, at: Duration, who: Who, text: &str) {
        let (name, colour) = match who {
            Who::Host => ("host", CYAN),
            Who::Guest => ("guest", DIM),
            Who::Agent => ("agent", BOLD),
            Who::Report => ("report", GREEN),
        };
        let text = if matches!(who, Who::Guest) { self.painted(DIM, text) } else { text.to_owned() };
        println!("{:7.2} s  {}  {text}", at.as_secs_f64(), self.painted(colour, &format!("{name:6}")));
    }

    /// A line of a result.
    pub(crate) fn line(&self, text: &str) {
        println!("{}", format!("  {text}").trim_end());
    }

    /// A line of a result that stands out.
    pub(crate) fn title(&self, text: &str) {
        println!("  {}", self.painted(BOLD, text));
    }

    /// The last line.
    pub(crate) fn verdict(&self, text: &str) {
        println!("\n{}", self.painted(GREEN, text));
    }

    /// Why there is no last line.
    pub(crate) fn failure(&self, text: &str) {
        eprintln!("\n{}\n{text}", self.painted(RED, "demo failed"));
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
