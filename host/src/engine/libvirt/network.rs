//! What is between the guests, where libvirt is the machine's: a network of its own for each of the package's.
//!
//! Decides that they are isolated: guests reach each other and, where there is a subnet, this machine, and nothing beyond;
//! and that nobody answers for names or addresses in them. A user's libvirt has no networks: there guests are joined as
//! without libvirt (`qemu::network`).
//!
//! The rule: libvirt's "Network XML format".

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write;

use super::domain::digest;
use crate::addresses::Subnet;
use crate::engine::Plan;

/// The networks of a deployment, by the names that they have in its package.
fn all(plan: &Plan) -> BTreeSet<&str> {
    plan.guests.iter().flat_map(|it| &it.machine.cards).map(|it| it.network.as_str()).collect()
}

/// How the names of all of a deployment's networks begin, and of no others: whoever ends it does not know what its package says.
fn beginning(plan: &Plan) -> String {
    format!("{}-{}-", plan.name, &digest(plan, &["networks"])[..8])
}

/// libvirt's name of one of a deployment's networks.
pub(super) fn name(plan: &Plan, network: &str) -> String {
    let number = all(plan).iter().position(|it| *it == network).unwrap_or_default();
    format!("{}{number}", beginning(plan))
}

/// Whether libvirt's network of this name is one of a deployment's.
pub(super) fn is_of(plan: &Plan, name: &str) -> bool {
    name.starts_with(&beginning(plan))
}

/// Their definitions. The first has the subnet: this machine cannot be in several of the same.
pub(super) fn networks(plan: &Plan, subnet: Option<Subnet>) -> Vec<String> {
    let mut texts = Vec::new();
    for name in all(plan).into_iter().map(|it| name(plan, it)) {
        let mut text = format!("<network>\n  <name>{name}</name>\n");
        text.push_str("  <bridge stp=\"off\" delay=\"0\"/>\n  <dns enable=\"no\"/>\n");
        if let Some(subnet) = subnet.filter(|_| texts.is_empty()) {
            let _ = writeln!(text, r#"  <ip address="{}" prefix="{}"/>"#, subnet.host(), subnet.prefix());
        }
        text.push_str("</network>\n");
        texts.push(text);
    }
    texts
}
