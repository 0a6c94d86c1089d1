//! Where in `appliance.toml` it stands what a finding about the descriptor is of.
//!
//! Decides that a builder is told of the file that they write, and not of one that they may never see: a property's value, the property,
//! or else the machine, the group or the whole. What the finding says stays as it is.

#![forbid(unsafe_code)]

use roxmltree::{Document, Node};

use super::properties::{key, split};
use crate::descriptor::NAMESPACE;
use crate::finding::{At, Finding};
use crate::recipe::{Recipe, Shared};
use crate::xml::Source;

/// Gives findings in this descriptor the places in the recipe that it was made of.
pub(super) fn told(findings: &mut [Finding], descriptor: &str, text: &str, recipe: &Recipe, source: &Source) {
    let Ok(tree) = Document::parse(text) else { return };
    for finding in findings.iter_mut().filter(|it| it.file == descriptor) {
        let byte = match finding.at.and_then(|at| byte(text, at)).and_then(|byte| place(&tree, byte, recipe))
        {
            Some(byte) => byte,
            None => {
                finding.message.push_str("; this is of the descriptor that is made of all");
                recipe.name.span().start
            }
        };
        finding.file.clone_from(&source.file);
        finding.at = Some(source.at(byte));
    }
}

/// The byte of a line and a column.
fn byte(text: &str, at: At) -> Option<usize> {
    let before: usize = text.split_inclusive('\n').take(at.line - 1).map(str::len).sum();
    let (inside, _) = text[before..].char_indices().nth(at.column - 1)?;
    Some(before + inside)
}

fn place(tree: &Document<'_>, byte: usize, recipe: &Recipe) -> Option<usize> {
    let is_around = |node: &Node<'_, '_>| node.is_element() && node.range().contains(&byte);
    // The last of those around it is the innermost.
    let node = tree.descendants().rfind(is_around)?;
    let around = |names: &[&str]| {
        node.ancestors()
            .find(|it| it.tag_name().namespace() == Some(NAMESPACE) && names.contains(&it.tag_name().name()))
    };
    let attribute =
        |node: Node<'_, '_>, name: &str| node.attribute((NAMESPACE, name)).unwrap_or_default().to_owned();
    let entity = attribute(around(&["VirtualSystem", "VirtualSystemCollection"])?, "id");
    let property = around(&["Property"]).map(|property| {
        let class = property.parent().map(|it| attribute(it, "class")).unwrap_or_default();
        let option = around(&["Value"]).map(|it| attribute(it, "configuration"));
        (class, attribute(property, "key"), option)
    });
    let is_it = |name: &str| {
        property.as_ref().is_some_and(|(class, own, _)| split(name).0 == class && key(name) == own)
    };
    let option = property.as_ref().and_then(|(_, _, option)| option.as_deref());

    if let Some((id, machine)) = recipe.machines.iter().find(|(id, _)| *id.get_ref() == entity) {
        let otherwise = machine.configurations.iter().filter(|(id, _)| Some(id.get_ref().as_str()) == option);
        let otherwise = otherwise.flat_map(|(_, it)| &it.values);
        let value = otherwise.chain(&machine.values).find(|(name, _)| is_it(name.get_ref()));
        let agent = machine.agent.as_ref().filter(|_| property.is_some());
        return Some(match (value, agent) {
            (Some((_, value)), _) => value.span().start,
            // What is not given is as its agent declares it.
            (None, Some(agent)) => agent.span().start,
            (None, None) => id.span().start,
        });
    }
    let group = recipe.groups.iter().find(|(id, _)| *id.get_ref() == entity);
    let (shared, otherwise) = match group {
        Some((id, group)) => (&group.properties, id),
        None => (&recipe.properties, &recipe.name),
    };
    match shared.iter().find(|(name, _)| is_it(name.get_ref())) {
        Some((name, Shared { value, default, configurations, .. })) => {
            let of_option = configurations.iter().find(|(id, _)| Some(id.get_ref().as_str()) == option);
            let value = of_option.map(|(_, value)| value).or(value.as_ref()).or(default.as_ref());
            Some(value.map_or(name.span(), |it| it.span()).start)
        }
        None => Some(otherwise.span().start),
    }
}
