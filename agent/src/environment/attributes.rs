//! Which attribute of an element is meant.
//!
//! Decides what is accepted in place of an attribute in the namespace where DSP8027 wants it
//! (`attributeFormDefault="qualified"`): real generators forget the prefix, its declaration, or take the
//! descriptor's prefix. The proper one always wins. An attribute in any other namespace is somebody else's,
//! whatever its name.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::error::{ErrorKind, Fault};
use super::namespaces::Namespace;
use super::tag::Attribute;
use super::warnings::{Habit, Warnings};
use super::xml::Xml;
use super::{NAMESPACE, VMWARE_NAMESPACE, Value};
use crate::printable::name as shown;

/// Whether what is in this namespace may be the environment's.
pub(super) fn is_ours(namespace: Namespace) -> bool {
    matches!(namespace, Namespace::NONE | Namespace::ENVIRONMENT | Namespace::ASSUMED)
}

/// The value of an attribute of the element that was just opened.
pub(super) fn text(xml: &mut Xml<'_>, home: Namespace, local: &str) -> Option<String> {
    find(&xml.attributes, &mut xml.warnings, home, local).map(|it| it.value().into_owned())
}

/// Key and value of the property that was just opened at `at`; `None` if it is somebody else's.
pub(super) fn property<'a>(xml: &mut Xml<'a>, at: usize) -> Result<Option<(Cow<'a, str>, Value)>, Fault> {
    let Xml { attributes, warnings, namespaces, .. } = xml;
    let key = find(attributes, warnings, Namespace::ENVIRONMENT, "key").or_else(|| {
        let name = find(attributes, warnings, Namespace::ENVIRONMENT, "name")?;
        warnings.habit(Habit::NameForKey, name.at, || {
            format!("a property has `{}` instead of `key`; taken for its key", shown(name.name))
        });
        Some(name)
    });
    let value = find(attributes, warnings, Namespace::ENVIRONMENT, "value");
    if let Some(key) = key {
        let key = key.value();
        return match value {
            Some(value) => Ok(Some((key, Value::from(value.value().into_owned())))),
            // Not the same as an empty value: the sender says nothing, so nothing may be made of it.
            None => Fault::at(at, ErrorKind::MissingValue(shown(&key))),
        };
    }
    let foreign = |local: &str| attributes.iter().find(|it| it.local == local && !is_ours(it.namespace));
    match (value, foreign("key"), foreign("value")) {
        // Any attribute is allowed on a property, so this is an extension of theirs, and not for us.
        (Some(_), Some(key), _) => {
            warnings.add(at, || {
                format!("a property was ignored; its `{}` is of another namespace", shown(key.name))
            });
            Ok(None)
        }
        // Neither is ours: the author has misspelt the namespace. To take such attributes for ours would make
        // the namespace mean nothing; to ignore them would lose every property without a word.
        (None, Some(it), _) | (None, None, Some(it)) => {
            Fault::at(it.at, ErrorKind::ForeignProperty(shown(namespaces.uri(it.namespace))))
        }
        _ => Fault::at(at, ErrorKind::MissingKey),
    }
}

/// The attribute of this name in its namespace, else the one in none, else (for the environment's) the one
/// with an undeclared prefix that usually means it, else the one in the descriptor's namespace: `ovf:id`,
/// `ovf:key` and `ovf:value` are the same things there, and IBM's generator writes `ovf:id` here.
fn find<'x, 'a>(
    attributes: &'x [Attribute<'a>],
    warnings: &mut Warnings,
    home: Namespace,
    local: &str,
) -> Option<&'x Attribute<'a>> {
    if let Some(proper) = attributes.iter().find(|it| it.namespace == home && it.local == local) {
        return Some(proper);
    }
    let rank = |attribute: &&Attribute<'_>| match attribute.namespace {
        Namespace::NONE => 1,
        Namespace::ASSUMED => 2,
        _ => 3,
    };
    let possible = |it: &&Attribute<'_>| {
        let descriptor = matches!(it.namespace, Namespace::ENVELOPE_1 | Namespace::ENVELOPE_2);
        let lenient = home == Namespace::ENVIRONMENT && (it.namespace == Namespace::ASSUMED || descriptor);
        it.local == local && (it.namespace == Namespace::NONE || lenient)
    };
    let found = attributes.iter().filter(possible).min_by_key(rank)?;
    let habit = match rank(&found) {
        1 => Habit::BareAttribute,
        3 => Habit::EnvelopeAttribute,
        _ => return Some(found),
    };
    warnings.habit(habit, found.at, || {
        format!(
            "the attribute `{}` is not in the namespace `{}`; taken for one that is",
            shown(found.name),
            if home == Namespace::VMWARE { VMWARE_NAMESPACE } else { NAMESPACE }
        )
    });
    Some(found)
}
