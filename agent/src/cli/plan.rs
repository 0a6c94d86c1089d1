//! `plan`: what a pass would do, for people and for programs.
//!
//! Decides the JSON; the text is the plan's own Display.

#![forbid(unsafe_code)]

use std::io::Write;

use serde_json::json;

use super::{Common, print_json, written};
use crate::agent::{Exit, Machine, Prepared, Result};

impl Common {
    pub(super) fn plan(&self, out: &mut impl Write) -> Result<Exit> {
        let mut machine = Machine::new(self.root()?);
        let config = self.config(&machine.root)?;
        let received = self.received(&mut machine, &config)?;
        let memory = machine.remember(&config);
        let Prepared { plan, .. } = machine.prepare(&config, memory, received)?;
        if self.json {
            let files: Vec<_> = plan
                .changes
                .iter()
                .map(|change| {
                    let file = &change.rendered;
                    json!({
                        "path": file.path,
                        "action": change.action.to_string(),
                        "reason": change.why,
                        "mode": format!("{:04o}", file.mode),
                        "owner": file.owner,
                        "group": file.group,
                        "template": file.template,
                    })
                })
                .chain(plan.removals.iter().map(|removal| {
                    json!({
                        "path": removal.path,
                        "action": removal.action.to_string(),
                        "reason": removal.why,
                        "template": removal.template,
                    })
                }))
                .collect();
            let others = plan.others().into_iter().map(|(name, what)| json!({ "name": name, "what": what }));
            let others: Vec<_> = others.collect();
            let (leftovers, interrupted, hooks) = (&plan.leftovers, plan.interrupted, &plan.hooks);
            print_json(
                out,
                &json!({
                    "files": files, "hooks": hooks, "others": others, "leftovers": leftovers, "interrupted": interrupted
                }),
            )
        } else {
            write!(out, "{plan}").or_else(written)?;
            Ok(Exit::Done)
        }
    }
}
