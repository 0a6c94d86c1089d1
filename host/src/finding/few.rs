//! Findings of one look at something of which a stranger may have put a million.
//!
//! Decides how many are shown, and that the last one says that there are more. Errors are counted apart: ten thousand warnings
//! keep nothing from being deployed, and hide nothing that does.

#![forbid(unsafe_code)]

use super::{Code, Finding, Severity};

/// Findings of one look that are shown.
pub const MAX_FINDINGS: usize = 1_000;

/// A list that takes so many, and says once that there would be more.
#[derive(Debug)]
pub struct Few<'a> {
    findings: &'a mut Vec<Finding>,
    errors: usize,
    others: usize,
}

impl<'a> Few<'a> {
    /// So many more behind these.
    pub fn behind(findings: &'a mut Vec<Finding>) -> Self {
        Self { findings, errors: 0, others: 0 }
    }

    /// Adds one, or nothing.
    pub fn push(&mut self, finding: Finding) {
        let (count, code, what) = match finding.code.severity() {
            Severity::Error => (&mut self.errors, Code::TooMany, "errors"),
            Severity::Warning | Severity::Note => {
                (&mut self.others, Code::MoreWarnings, "warnings and notes")
            }
        };
        *count += 1;
        match *count - 1 {
            0..MAX_FINDINGS => self.findings.push(finding),
            MAX_FINDINGS => {
                let message =
                    format!("there are more than these {MAX_FINDINGS} {what}; mend them, and look again");
                self.findings.push(Finding::with(finding.file, code, message));
            }
            _ => {}
        }
    }

    /// Whether some are not added any more, so that nobody has to look for the best words.
    pub fn is_full(&self) -> bool {
        self.errors > MAX_FINDINGS || self.others > MAX_FINDINGS
    }

    /// Whether not even an error is added.
    pub fn is_over(&self) -> bool {
        self.errors > MAX_FINDINGS
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, Finding};
    use super::{Few, MAX_FINDINGS};

    #[test]
    fn the_last_of_many_says_that_there_are_more() {
        for (code, more) in [(Code::FileMissing, Code::TooMany), (Code::NoCdrom, Code::MoreWarnings)] {
            let mut findings = vec![Finding::with("a", Code::TarNoEnd, "before")];
            let mut few = Few::behind(&mut findings);
            for number in 0..=MAX_FINDINGS * 2 {
                assert_eq!(few.is_full(), number > MAX_FINDINGS, "{number}");
                few.push(Finding::with("b", code, number.to_string()));
            }
            assert_eq!(few.is_over(), code == Code::FileMissing);
            assert_eq!(findings.len(), MAX_FINDINGS + 2);
            assert_eq!(findings.last().map(|it| it.code), Some(more));
        }
    }

    #[test]
    fn warnings_hide_no_error() {
        let mut findings = Vec::new();
        let mut few = Few::behind(&mut findings);
        for number in 0..MAX_FINDINGS * 2 {
            few.push(Finding::with("a", Code::NoCdrom, number.to_string()));
        }
        few.push(Finding::with("a", Code::FileMissing, "it is not there"));
        assert_eq!(findings.last().map(|it| it.code), Some(Code::FileMissing));
    }
}
