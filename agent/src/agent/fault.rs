//! Why a pass failed: once for the platform, once for the caller.
//!
//! Decides which part of the work an error belongs to, its code, the exit status that follows from it, and how the log
//! tells of it: one event for each parameter or template that is wrong, with its name as a field.

#![forbid(unsafe_code)]

use std::error::Error;

use tracing::error;

use crate::config;
use crate::parameters::{Violation, Violations};
use crate::problem::{Problem, Problems};
use crate::report::{Failure, Part};
use crate::secrets;
use crate::sys;
use crate::transport;

/// The longest failure message in a report.
const MESSAGE_LIMIT: usize = 8 * 1024;

/// The code where nobody is there to be asked.
const NOT_RUNNING: &str = "NotRunning";

/// How a command ends (sysexits.h, as far as it is used).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong (EX_USAGE).
    Usage = 64,
    /// Not there yet (EX_TEMPFAIL).
    TryAgain = 75,
    /// Configuration, template or environment is wrong (EX_CONFIG).
    Refused = 78,
}

/// Why a pass failed, for the report and for the exit status.
#[derive(Debug)]
pub struct Fault {
    /// What the platform is told.
    pub failure: Failure,
    /// What the caller is told.
    pub exit: Exit,
    /// The message in parts, where it is about several things.
    subjects: Vec<Subject>,
}

/// What one part of a message is about.
#[derive(Debug)]
struct Subject {
    parameter: Option<String>,
    template: Option<String>,
    text: String,
}

impl Fault {
    pub(super) fn new(stage: Part, code: &str, exit: Exit, error: &(dyn Error + 'static)) -> Box<Self> {
        Self::said(stage, code, exit, chain(error))
    }

    pub(super) fn said(stage: Part, code: &str, exit: Exit, message: String) -> Box<Self> {
        let failure = Failure { stage, code: code.to_owned(), message, is_final: true };
        Box::new(Self { failure, exit, subjects: Vec::new() })
    }

    /// The failure as the platform is told of it: the message no longer than a report should be.
    pub fn for_report(&self) -> Failure {
        let mut failure = self.failure.clone();
        if failure.message.len() > MESSAGE_LIMIT {
            let end = failure.message.floor_char_boundary(MESSAGE_LIMIT);
            failure.message.replace_range(end.., " ...");
        }
        failure
    }

    /// Whether another try may go well with nothing changed in configuration, document or medium.
    pub(super) fn can_pass(&self) -> bool {
        let failure = &self.failure;
        let is_lasting = matches!(failure.code.as_str(), "EnvironmentNotFound" | "ImageBroken");
        matches!(self.exit, Exit::Failed | Exit::TryAgain) && !is_lasting
    }

    /// Tells the log.
    pub fn log(&self) {
        let Failure { stage, code, message, .. } = &self.failure;
        let stage = stage.as_str();
        if self.subjects.is_empty() {
            error!(stage, code, "{message}");
        }
        for Subject { parameter, template, text } in &self.subjects {
            let (parameter, template) = (parameter.as_deref(), template.as_deref());
            error!(stage, code, parameter, template, "{text}");
        }
    }

    /// A command line that asks for what is not to be had.
    pub fn usage(message: String) -> Box<Self> {
        Self::said(Part::Agent, "Usage", Exit::Usage, message)
    }

    /// There is no environment where one is needed.
    pub fn absent(message: String) -> Box<Self> {
        Self::said(Part::Transport, "EnvironmentNotFound", Exit::Failed, message)
    }

    /// Something that was asked for is not there yet.
    pub fn not_there(message: String) -> Box<Self> {
        Self::said(Part::Agent, "Unavailable", Exit::TryAgain, message)
    }

    /// The process that was to be asked is not there, or not any more.
    pub fn gone(message: String) -> Box<Self> {
        Self::said(Part::Agent, NOT_RUNNING, Exit::TryAgain, message)
    }

    /// Whether it is of the kind [`Self::gone`].
    pub fn is_gone(&self) -> bool {
        self.failure.code == NOT_RUNNING
    }

    /// A look at the places of documents did not come to an end.
    pub(super) fn unanswered(message: String) -> Box<Self> {
        Self::said(Part::Transport, "SourceUnreadable", Exit::TryAgain, message)
    }

    /// What a child found broken when it looked. How a command would end of it is lost, which no command needs then.
    pub(super) fn seen(code: &str, message: String) -> Box<Self> {
        Self::said(Part::Transport, code, Exit::Failed, message)
    }

    /// What another process of the agent failed with.
    pub fn answered(failure: Failure, exit: Exit) -> Box<Self> {
        Box::new(Self { failure, exit, subjects: Vec::new() })
    }

    /// Gates were not passed in time.
    pub fn gates(message: String) -> Box<Self> {
        Self::said(Part::Gates, "GatesTimedOut", Exit::Failed, message)
    }

    /// Values break rules. Without an environment, a required one is not wrong but missing.
    pub fn parameters(violations: &Violations, has_environment: bool) -> Box<Self> {
        let exit = if has_environment { Exit::Refused } else { Exit::Failed };
        let subject = |violation: &Violation| Subject {
            parameter: Some(violation.parameter.clone()),
            template: None,
            text: violation.to_string(),
        };
        let fault = Self::new(Part::Parameters, "ParametersInvalid", exit, violations);
        Box::new(Self { subjects: violations.0.iter().map(subject).collect(), ..*fault })
    }

    /// The configuration is wrong, or nothing but templates are.
    pub fn configuration(problems: &Problems) -> Box<Self> {
        let (stage, code) = if problems.0.iter().all(|problem| config::is_template(&problem.file)) {
            (Part::Template, "TemplateInvalid")
        } else {
            (Part::Agent, "ConfigurationInvalid")
        };
        Self::problems(stage, code, problems)
    }

    /// Templates cannot be rendered with the values that came.
    pub fn rendering(problems: &Problems) -> Box<Self> {
        Self::problems(Part::Template, "RenderFailed", problems)
    }

    fn problems(stage: Part, code: &str, problems: &Problems) -> Box<Self> {
        let subject = |problem: &Problem| Subject {
            parameter: None,
            template: Some(problem.file.clone()).filter(|file| config::is_template(file)),
            text: problem.to_string(),
        };
        let fault = Self::new(stage, code, Exit::Refused, problems);
        Box::new(Self { subjects: problems.0.iter().map(subject).collect(), ..*fault })
    }

    /// The machine's file tree, or something else that everything needs, is not to be had.
    pub fn outside(error: &sys::Error) -> Box<Self> {
        Self::new(Part::Agent, "Unavailable", Exit::Failed, error)
    }
}

impl From<transport::Error> for Box<Fault> {
    fn from(error: transport::Error) -> Self {
        let (code, exit) = match &error {
            error if error.is_temporary() => ("SourceNotThere", Exit::TryAgain),
            transport::Error::Image { .. } => ("ImageBroken", Exit::Failed),
            transport::Error::NoMedium(_) | transport::Error::Missing(..) => {
                ("EnvironmentNotFound", Exit::Failed)
            }
            transport::Error::Unreadable(_)
            | transport::Error::Device { .. }
            | transport::Error::Guestinfo(_) => ("SourceUnreadable", Exit::Failed),
            transport::Error::Extract(_) => ("FilesNotWritten", Exit::Failed),
        };
        Fault::new(Part::Transport, code, exit, &error)
    }
}

impl From<secrets::Error> for Box<Fault> {
    fn from(error: secrets::Error) -> Self {
        let exit = if error.is_temporary() { Exit::TryAgain } else { Exit::Failed };
        Fault::new(Part::Parameters, "SecretsUnavailable", exit, &error)
    }
}

/// An error and its causes, in one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Result of a part of the pass.
pub type Result<T> = std::result::Result<T, Box<Fault>>;
