//! What the appliance would refuse of the values that the descriptor itself gives.
//!
//! Decides nothing about values: the agent is handed the environment that its guest would have if nobody gave any (`ovf-agent
//! render --env`), with each deployment option, and names the properties that it refuses, and the rule. What has no value yet is
//! passed over, as somebody may give it. Templates are not judged by values that are not there.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::Path;

use serde::Deserialize;

use super::{Comparing, declared};
use crate::environments::Environments;
use crate::finding::{Code, quoted};
use crate::scratch;

/// The answer of `ovf-agent render --json` where it fails.
#[derive(Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    message: String,
}

/// Between two refusals.
const NEXT: &str = "; parameter `";

impl<'a> Comparing<'a, '_> {
    /// The values of a virtual system, judged by its appliance's agent.
    pub(super) fn refused(
        &mut self,
        system: usize,
        (directory, program): (&Path, &Path),
        all: &[(Option<&'a str>, Environments<'a>)],
    ) {
        let mut judged: HashSet<Vec<(&str, &str)>> = HashSet::new();
        let mut document = String::new();
        for (configuration, environments) in all {
            let values = environments.properties(system);
            if values.iter().all(|(_, value)| value.is_empty()) || !judged.insert(values.clone()) {
                continue;
            }
            // One that is too large is refused before any guest sees it.
            if environments.document(system, self.source, &mut document).is_err() {
                continue;
            }
            let refused = ask(directory, program, &document).unwrap_or_default();
            let visible = self.visible(system).clone();
            for (key, value) in values {
                let (Some(rule), Some((_, property))) = (refused.get(key), visible.get(key)) else {
                    continue;
                };
                let chosen = property.values.iter().find(|(it, _)| Some(it.value.as_str()) == *configuration);
                let at = chosen.map(|(_, value)| value).or(property.default.as_ref()).map(|it| it.at);
                if let Some(at) = at.filter(|_| !value.is_empty()) {
                    let message = format!("the appliance would refuse the value of {}: {rule}", quoted(key));
                    self.find(Code::AgentRefused, at, message);
                }
            }
        }
    }
}

/// The properties that an agent refuses, and why. Nothing is known where the agent cannot be asked, which has been said.
pub(super) fn ask(directory: &Path, program: &Path, document: &str) -> Option<BTreeMap<String, String>> {
    // Only its owner reads it, and it goes also when we are interrupted.
    let mut file = scratch::File::new(&std::env::temp_dir()).ok()?;
    file.file().write_all(document.as_bytes()).ok()?;
    let output = declared::command(program, directory, &["render", "--json", "--env"], Some(file.path()))
        .run(declared::AGENT)
        .ok()?;
    let failed: Failed = serde_json::from_slice(&output.stdout).ok()?;
    let Failure { code, message } = failed.error;
    let mut all = BTreeMap::new();
    if code == "ParametersInvalid" {
        for refusal in message.split(NEXT) {
            let told = refusal.split_once(" (property `").and_then(|(_, rest)| rest.split_once("`): "));
            all.extend(told.map(|(key, rule)| (key.to_owned(), rule.to_owned())));
        }
    }
    Some(all)
}
