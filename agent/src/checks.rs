//! Other people's programs that judge our files (`check`, `verify`), have to hear of them (`on-change`), do what files
//! cannot express (hooks), or say whether the guest is ready (gates).
//!
//! Decides how one is run and what its end means; when, is decided in `apply` and `hooks`. Where systemd is, it runs as a
//! unit of its own that exists for this one run ([`transient`]), so that nothing of it stays, and one that judges is
//! confined; elsewhere as a child of ours (`sys::program`). In both cases it has a time limit, and two environment variables. One
//! for a template reads nothing, and is told no more than the path of the staged file, in place of `{}`: no value is ever in its
//! arguments or variables. What a hook reads, and which variables it has besides, is decided in `hooks`.
//!
//! What it prints may quote the file. So it goes to a file under `/run/ovf-agent` that only root can read, and an error tells
//! where that is, and never what is in it. A program that is content leaves no such file, and a gate's goes with the gate.

#![forbid(unsafe_code)]

mod transient;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bus::{self, Bus};
use crate::sys;
use crate::sys::program::{self, Input, Output, Program, Start};

/// Where the output goes.
const DIRECTORY: &str = "/run/ovf-agent";

/// The end of its name.
const LOG: &str = ".log";

/// The largest file that one which judges a file may make, in KiB: its output is in memory.
const FILE_LIMIT: u64 = 16 << 10;
/// The same for a gate, whose output stays for as long as it is not passed.
const GATE_LIMIT: u64 = 64;

/// The place of the staged file in an argument.
const FILE: &str = "{}";

/// What a program is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To judge a staged file.
    Check,
    /// To judge what is in place.
    Verify,
    /// To hear that a file has changed.
    OnChange,
    /// To do what the appliance's builder wants done at a moment.
    Hook,
    /// To say whether the guest is ready.
    Gate,
    /// To have init take the machine down.
    Shutdown,
}

impl Kind {
    /// The key in a template's front matter, or `hook`, `gate` or `shutdown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Verify => "verify",
            Self::OnChange => "on-change",
            Self::Hook => "hook",
            Self::Gate => "gate",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A program that is to be run.
#[derive(Debug)]
pub struct Order {
    kind: Kind,
    subject: String,
    /// The program as it was named.
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    input: Option<Input>,
    output: Output,
    limit: Duration,
}

/// A program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
#[error("{}", Told(self))]
pub struct Refusal {
    /// What it was run for.
    pub kind: Kind,
    /// The template whose file it is about, or the hook's name.
    pub subject: String,
    /// The program as it was named.
    pub program: String,
    /// How it ended.
    pub how: How,
    /// Where its output is.
    pub output: Option<PathBuf>,
    /// What kept it from running.
    #[source]
    pub source: Option<Cause>,
}

/// What kept a program from running.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// systemd did.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// The system did.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// How a program ended that did not do what it was run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// There is no such program.
    Missing,
    /// With this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// In whatever way, having printed more than so many KiB.
    Talkative(u64),
    /// By the signal for a file of more than so many KiB.
    Large(u64),
    /// After this time, by us.
    Late(Duration),
    /// It was there and could not be run.
    NotRun,
    /// systemd said no more than this of it.
    Result(String),
}

/// The sentence, apart from the type, so that thiserror takes it for the Display.
struct Told<'a>(&'a Refusal);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { kind, subject, program, how, .. } = self.0;
        let is_hook = *kind == Kind::Hook;
        let kind = kind.as_str();
        match (how, is_hook) {
            (How::Missing | How::NotRun, true) => {
                let remedy = "is its file executable, and the interpreter in its first line there?";
                return write!(f, "hook {subject} cannot be run; {remedy}");
            }
            (How::Missing, _) => {
                let remedy = format_args!("install it, or correct `{kind}`");
                return write!(f, "{kind} of {subject}: there is no program {program}; {remedy}");
            }
            (How::NotRun, _) => return write!(f, "{kind} of {subject}: cannot run {program}"),
            (_, true) => write!(f, "hook {subject}")?,
            (How::Exit(226), _) => write!(f, "{kind} of {subject}: the sandbox of {program}")?,
            _ => write!(f, "{kind} of {subject}: {program}")?,
        }
        write!(f, " {}", self.0.end())
    }
}

impl Refusal {
    /// How it ended, and where what it said is.
    pub fn end(&self) -> String {
        let end = match &self.how {
            How::Missing => "there is no such program".to_owned(),
            How::NotRun => "could not be run".to_owned(),
            // systemd's own exit statuses (systemd.exec(5)).
            How::Exit(203) => "could not be executed (exit status 203)".to_owned(),
            How::Exit(226) => "could not be made (exit status 226)".to_owned(),
            How::Exit(status) => format!("ended with exit status {status}"),
            How::Signal(signal) => format!("was ended by signal {signal}"),
            How::Talkative(limit) => format!("printed more than {limit} KiB, and may not"),
            How::Large(limit) => format!("wrote a file of more than {limit} KiB, and may not"),
            How::Late(limit) => format!("did not end within {} s", limit.as_secs_f64()),
            How::Result(result) => format!("ended with \"{result}\""),
        };
        match &self.output {
            Some(path) => format!("{end}; what it said is in {}", path.display()),
            None => end,
        }
    }

    pub(crate) fn of(
        kind: Kind,
        subject: &str,
        argv: &[String],
        how: How,
        source: Option<Cause>,
    ) -> Box<Self> {
        let program = argv.first().cloned().unwrap_or_default();
        Box::new(Self { kind, subject: subject.to_owned(), program, how, output: None, source })
    }
}

impl Order {
    /// Finds the program and makes the file for its output. `subject` is the template, `file` what stands for `{}`.
    ///
    /// # Errors
    /// There is no such program, or no such file can be made.
    pub fn new(
        root: &sys::Root,
        kind: Kind,
        subject: &str,
        argv: &[String],
        file: Option<&Path>,
        limit: Duration,
    ) -> Result<Self, Box<Refusal>> {
        let refusal = |how, source| Refusal::of(kind, subject, argv, how, source);
        let found = argv.first().and_then(|name| program::find(name));
        let (Some(program), Some((name, arguments))) = (found, argv.split_first()) else {
            return Err(refusal(How::Missing, None));
        };
        let file = file.map_or_else(String::new, |file| file.display().to_string());
        let arguments = arguments.iter().map(|argument| argument.replace(FILE, &file)).collect();
        let name_of_log = format!("{}-{}{LOG}", kind.as_str(), slug(kind, subject));
        let path = Path::new(DIRECTORY).join(name_of_log);
        let output = Output::create(root, &path).map_err(|error| refusal(How::NotRun, Some(error.into())))?;
        let (subject, name) = (subject.to_owned(), name.clone());
        let (variables, input) = (Vec::new(), None);
        Ok(Self { kind, subject, name, program, arguments, variables, input, output, limit })
    }

    /// The same with variables and something to read.
    pub fn told(self, variables: Vec<(String, String)>, input: Input) -> Self {
        Self { variables, input: Some(input), ..self }
    }

    /// Runs it, and is done when it has ended, which is when its limit is over if not before. To be driven by `bus`.
    ///
    /// # Errors
    /// It did not end with exit status 0 in time.
    pub fn run(self, bus: &Bus) -> impl Future<Output = Result<(), Box<Refusal>>> + Send + 'static {
        let (systemd, runtime) = (bus.systemd(), bus.runtime());
        async move {
            let ended = match systemd {
                Some(systemd) => transient::run(&systemd, &self).await,
                None => self.as_child(&runtime).await,
            };
            let Err((how, source)) = ended else {
                self.output.remove();
                return Ok(());
            };
            let how = self.plainly(how);
            let Self { kind, subject, name: program, output, .. } = self;
            let kept = match how {
                How::NotRun | How::Missing => {
                    output.remove();
                    None
                }
                _ => Some(output.path().to_owned()),
            };
            Err(Box::new(Refusal { kind, subject, program, how, output: kept, source }))
        }
    }

    /// The largest file that it may make, in KiB.
    fn file_limit(&self) -> Option<u64> {
        match self.kind {
            Kind::Check | Kind::Verify => Some(FILE_LIMIT),
            Kind::Gate => Some(GATE_LIMIT),
            // These may have real work to do.
            Kind::OnChange | Kind::Hook | Kind::Shutdown => None,
        }
    }

    /// How it ended, where that was for want of room. Not every program lets itself be ended by the signal, and of a shell's child
    /// it is the shell that we hear of; the output is full all the same.
    fn plainly(&self, how: How) -> How {
        match (self.file_limit(), &how) {
            (Some(limit), How::Exit(_) | How::Signal(_)) if self.output.written() >= limit << 10 => {
                How::Talkative(limit)
            }
            (Some(limit), How::Signal(program::SIGXFSZ)) => How::Large(limit),
            _ => how,
        }
    }

    async fn as_child(&self, runtime: &bus::Runtime) -> Result<(), (How, Option<Cause>)> {
        let not_run = |source| {
            let error = sys::Error::new("run", &self.program, source);
            (How::NotRun, Some(error.into()))
        };
        let start = Start {
            program: &self.program,
            arguments: &self.arguments,
            variables: &self.variables,
            input: self.input.as_ref(),
            output: &self.output,
            limit: self.file_limit().map(|limit| limit << 10),
        };
        let mut child = Program::start(start).map_err(not_run)?;
        let descriptor = child.descriptor().map_err(not_run)?;
        let end = runtime.when_readable(descriptor, || child.ended());
        match runtime.within(self.limit, end).await {
            Some(Ok(program::Ended::Exit(0))) => Ok(()),
            Some(Ok(program::Ended::Exit(status))) => Err((How::Exit(status), None)),
            Some(Ok(program::Ended::Signal(signal))) => Err((How::Signal(signal), None)),
            Some(Err(error)) => Err(not_run(error)),
            // It is ended as it is dropped.
            None => Err((How::Late(self.limit), None)),
        }
    }
}

/// Removes what gates have left that are no more. Of those that are, every try makes its file anew.
pub fn forget_gates(root: &sys::Root) {
    let of_gate = |name: &str| {
        let number = name.strip_prefix("gate-").and_then(|name| name.strip_suffix(LOG));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // What cannot be removed goes with the next boot.
    let _ = program::forget(root, Path::new(DIRECTORY), of_gate);
}

/// The part of a name that may stand in a file name: `templates/nginx.conf.tera` is `nginx-conf`, and the hook
/// `first-boot/10-keys` is `first-boot-10-keys`.
fn slug(kind: Kind, name: &str) -> String {
    let file = || name.rsplit('/').next().unwrap_or_default();
    let name = if kind == Kind::Hook { name } else { file() };
    let name = name.strip_suffix(".tera").unwrap_or(name);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().take(64).map(plain).collect()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at what programs left behind")]
mod tests;
