//! Who judges files for a pass, and hears of them.
//!
//! Decides what they are asked, and what their answers mean for the pass. When they are asked is decided in [`super`]; how, by
//! whoever answers.

#![forbid(unsafe_code)]

use std::path::Path;

use crate::checks::Refusal;
use crate::plan::{Change, Plan};
use crate::state::Owed;
use crate::sys::clock::Moment;
use crate::times::What;
use crate::units::Role;

/// Programs that judge files, and units and programs that hear of them.
pub trait Audience {
    /// Whether a staged file may be put in place; it has all that the file will have but its name.
    ///
    /// # Errors
    /// It may not.
    fn check(&mut self, change: &Change, staged: &Path) -> impl Future<Output = Result<(), Box<Refusal>>>;

    /// Does what is to be done before the first file changes, or the state alone; everything has passed its check by then.
    ///
    /// # Errors
    /// Without that, nothing may change.
    fn before(&mut self) -> impl Future<Output = Result<(), Box<Refusal>>>;

    /// Whether what is in place is right, before anybody hears of it.
    ///
    /// # Errors
    /// It is not.
    fn verify(&mut self, template: &str, argv: &[String]) -> impl Future<Output = Result<(), Box<Refusal>>>;

    /// Hears that all the time since `begin` went into this.
    fn took(&mut self, _what: What, _begin: Moment) {}

    /// Lets everybody hear of the files that `plan` has changed, be they the new ones or the old ones again; of what units are
    /// to be; and of what is owed. Where that is nothing, nobody is asked.
    fn hear(&mut self, plan: &Plan, roles: &[Role], owed: &Owed) -> impl Future<Output = Heard>;
}

/// What came of the hearing.
#[derive(Debug, Default)]
pub struct Heard {
    /// What is still owed.
    pub left: Owed,
    /// What would be owed if the files of before were back.
    pub back: Owed,
    /// What went wrong; empty if nothing did.
    pub wrong: String,
    /// Whether the new files cannot stay for it.
    pub refused: bool,
}
