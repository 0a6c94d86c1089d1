//! Where log events go, and what they look like there.
//!
//! Decides between journald's native protocol (where a service manager connected us to a journal), the kernel's
//! message buffer (started by an init before there is any log) and standard error (everybody else). Levels: `error`, an
//! asked-for thing did not happen; `warn`, odd, but nothing failed; `info`, one line for each stage; `debug`, names and
//! facts. No event holds a property value, so none needs to be filtered here.

#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::sys::process;

/// The name that lines begin with, and that the journal knows us by.
const IDENTIFIER: &str = "ovf-agent";

/// Sends events of `level` and above to where they belong. `service` says that nobody typed this command: `run`.
/// Returns whether that is a journal, where what goes to standard error would be a line without a level.
pub fn init(level: LevelFilter, service: bool) -> bool {
    let journal =
        process::has_journal_stream().then(|| tracing_journald::layer().ok()).flatten().map(|layer| {
            // As in `priority`: by default the crate has info as a notice.
            let priorities = PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
                ..PriorityMappings::new()
            };
            layer
                .with_syslog_identifier(IDENTIFIER.to_owned())
                .with_field_prefix(Some("OVF".to_owned()))
                .with_priority_mappings(priorities)
        });
    let has_journal = journal.is_some();
    let unattended = service && process::stderr_is_unattended();
    // A service manager without a journal yet is an early boot, too.
    let early = process::has_journal_stream() || unattended;
    let kmsg = (journal.is_none() && early).then(process::open_kmsg).flatten();
    let lines = journal.is_none().then(|| match kmsg {
        Some(file) => Lines { out: Mutex::new(Box::new(file)), kernel: true },
        None => Lines { out: Mutex::new(Box::new(std::io::stderr())), kernel: false },
    });
    let subscriber = tracing_subscriber::registry().with(level).with(journal).with(lines);
    // A second call, as in a test, keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    has_journal
}

/// One line for each event: what happened, then `field=value`.
struct Lines {
    out: Mutex<Box<dyn Write + Send>>,
    /// Whether the line goes to the kernel, with a priority in front (Documentation/ABI/testing/dev-kmsg).
    kernel: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = *event.metadata().level();
        let line = match (self.kernel, level) {
            (true, _) => format!("<{}>{IDENTIFIER}: {}\n", priority(level), text.joined()),
            (false, Level::ERROR) => format!("{IDENTIFIER}: error: {}\n", text.joined()),
            (false, Level::WARN) => format!("{IDENTIFIER}: warning: {}\n", text.joined()),
            (false, _) => format!("{IDENTIFIER}: {}\n", text.joined()),
        };
        if let Ok(mut out) = self.out.lock() {
            // One write is one record; a log that cannot be written has nowhere to say so.
            let _ = out.write_all(line.as_bytes());
        }
    }
}

/// syslog(3)'s priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn joined(self) -> String {
        self.message + &self.fields
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // For programs that filter the journal; the sentence says it too.
            "stage" => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
