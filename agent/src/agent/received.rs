//! A document that was read.
//!
//! Decides what of it is said in the log, and that one which is refused is named by its source. What it may be is decided in
//! `environment`.

#![forbid(unsafe_code)]

use tracing::{debug, info};

use super::{Exit, Fault, Machine, Result};
use crate::environment::{self, Environment};
use crate::report::Part;
use crate::sys::clock;
use crate::times::What;
use crate::transport::{Document, Source};

/// A document that is not an OVF environment as it should be.
#[derive(Debug, thiserror::Error)]
#[error("the OVF environment from {from} is refused")]
struct Refused {
    from: String,
    source: environment::Error,
}

/// A document that was read.
#[derive(Debug)]
pub struct Received {
    /// What it says.
    pub environment: Environment,
    /// What was mended in it.
    pub warnings: Vec<environment::Warning>,
    /// What there is to say about places that it did not come from.
    pub asides: Vec<String>,
    /// Its digest.
    pub digest: String,
    /// Where it came from.
    pub source: Source,
    /// Whether the caller named its source.
    pub named: bool,
}

impl Machine {
    /// Reads the document.
    ///
    /// # Errors
    /// It is refused.
    pub fn environment(&mut self, document: Document) -> Result<Received> {
        let begin = clock::now();
        let (environment, warnings) = environment::parse(&document.bytes).map_err(|source| {
            let error = Refused { from: document.source.to_string(), source };
            Fault::new(Part::Environment, "DocumentRefused", Exit::Refused, &error)
        })?;
        self.took.environment = self.times.took(What::Environment, begin);
        let count = warnings.len() + document.asides.len();
        info!(stage = "environment", source = %document.source, id = environment.id, warnings = count, "read the OVF environment");
        for warning in &warnings {
            debug!(
                stage = "environment",
                line = warning.line,
                column = warning.column,
                "{}",
                warning.message
            );
        }
        let digest = document.digest();
        if document.source != Source::Channel {
            self.found = Some(digest.clone());
        }
        let Document { source, asides, named, .. } = document;
        Ok(Received { environment, warnings, asides, digest, source, named })
    }
}
