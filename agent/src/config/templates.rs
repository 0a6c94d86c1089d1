//! The templates of a configuration, compiled when they are first asked for.
//!
//! Decides that they may be left uncompiled where an earlier pass of this very program has compiled the same texts, and what
//! tells these from others: the names and texts of all files, and the program's own stamp. Compiling is most of what a pass
//! costs that changes nothing (docs/decisions/010). Whether an earlier pass did is what the caller knows.

#![forbid(unsafe_code)]

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::path::Path;

use super::Config;
use super::files::TextFile;
use crate::parameters::Declared;
use crate::problem::{Problem, Problems};
use crate::state::Digest;
use crate::sys::process;
use crate::template::{ConditionSource, DerivedSource, TemplateSet, TemplateSource};

/// What templates are compiled from.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) templates: Vec<TextFile>,
    pub(super) derived: Vec<DerivedSource>,
    pub(super) conditions: Vec<ConditionSource>,
}

impl Sources {
    fn compile(self, declared: &Declared, state: &Path, problems: &mut Vec<Problem>) -> TemplateSet {
        let files = self.templates.into_iter();
        let files = files.map(|TextFile { name, text }| TemplateSource { file: name, text }).collect();
        let templates = TemplateSet::compile(files, self.derived, self.conditions, declared, problems);
        for (file, path, at) in templates.touching(state) {
            let message = format!("writes {path}, which is the agent's own ([state] directory)");
            problems.push(Problem::at(file, at, message));
        }
        templates
    }
}

/// Templates that may not have been compiled yet.
pub(super) struct Templates {
    sources: Cell<Sources>,
    set: OnceCell<Result<TemplateSet, Problems>>,
    /// Of the whole configuration.
    digest: Option<[u8; 32]>,
    derives: bool,
}

impl Templates {
    /// To be compiled when they are asked for.
    pub(super) fn new(sources: Sources, digest: Option<[u8; 32]>) -> Self {
        let derives = !sources.derived.is_empty();
        Self { sources: Cell::new(sources), set: OnceCell::new(), digest, derives }
    }

    /// Compiles them, adding what is wrong to `problems`; `state` is the agent's own directory.
    pub(super) fn compile(&self, declared: &Declared, state: &Path, problems: &mut Vec<Problem>) {
        let compiled = self.sources.take().compile(declared, state, problems);
        self.set.get_or_init(|| Ok(compiled));
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Templates").field(&self.set).finish()
    }
}

impl Config {
    /// The templates, compiled and checked against the declared names.
    ///
    /// # Errors
    /// They were left uncompiled, and something is wrong with them.
    pub fn templates(&self) -> Result<&TemplateSet, Problems> {
        let compile = || {
            let mut problems = Vec::new();
            let set = self.templates.sources.take().compile(&self.parameters, &self.state, &mut problems);
            Problems::unless_none(problems, set)
        };
        self.templates.set.get_or_init(compile).as_ref().map_err(Clone::clone)
    }

    /// What tells it from any other, with the program that read it; `None` where that cannot be told.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.templates.digest
    }

    /// Whether there are derived values.
    pub fn derives(&self) -> bool {
        self.templates.derives
    }

    /// Whether nothing has asked for the templates yet that were left uncompiled.
    pub fn is_uncompiled(&self) -> bool {
        self.templates.set.get().is_none()
    }

    /// Keeps the templates of this name, or that write this path; false where there is none.
    pub fn keep_only(&mut self, name: &str) -> bool {
        let set = self.templates.set.get_mut().and_then(|set| set.as_mut().ok());
        set.is_some_and(|set| set.keep_only(name))
    }
}

/// What tells a configuration from any other, and the program that reads it; `None` where that program has no stamp.
pub(super) fn digest(settings: &super::merge::Sources, templates: &[TextFile]) -> Option<[u8; 32]> {
    let mut digest = Digest::salted("");
    digest.add(env!("CARGO_PKG_VERSION").as_bytes());
    digest.add(&process::stamp()?);
    let count = settings.files().count();
    digest.add(&count.to_le_bytes());
    for TextFile { name, text } in settings.files().chain(templates) {
        digest.add(name.as_bytes());
        digest.add(text.as_bytes());
    }
    Some(digest.bytes())
}
