//! What a package is and asks for, to people and to programs that make a form of it.
//!
//! Decides which of a descriptor's parts `check` shows, and under which names. Values of properties are never among them, not even
//! defaults; what a ValueMap offers is nobody's value, but for passwords.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::counted;
use crate::descriptor::{Descriptor, Kind, Message, Property, Strings, full_name};
use crate::property::{Qualifiers, Type};

/// The package in a line.
pub(super) fn in_words(descriptor: &Descriptor) -> String {
    let systems = descriptor.systems().count();
    let properties: usize = (0..descriptor.entities.len()).map(|it| descriptor.properties(it).count()).sum();
    let parts = [
        counted(systems, "virtual system"),
        counted(descriptor.entities.len() - systems, "collection"),
        counted(descriptor.disks.len(), "disk"),
        counted(descriptor.networks.len(), "network"),
        counted(descriptor.configurations.len(), "deployment option"),
        if properties == 1 { "1 property".to_owned() } else { format!("{properties} properties") },
    ];
    format!(
        "{}, conformance level {}: {}",
        descriptor.version.as_str(),
        descriptor.conformance,
        parts.join(", ")
    )
}

/// What whoever deploys is asked, in their language.
pub(super) fn form(descriptor: &Descriptor, strings: &Strings) -> Vec<String> {
    let mut lines = Vec::new();
    let text = |message: &Option<Message>| {
        message.as_ref().map(|it| strings.text(it).to_owned()).unwrap_or_default()
    };
    for option in &descriptor.configurations {
        let usual =
            if descriptor.usual_configuration() == Some(&option.id.value) { ", the usual one" } else { "" };
        let subject = format!("deployment option {}{usual}", option.id.value);
        lines.push(explained(subject, [text(&option.label), text(&option.description)]));
    }
    for (index, entity) in descriptor.entities.iter().enumerate() {
        for (product, property) in descriptor.properties(index).filter(|(_, it)| it.is_configurable) {
            let name = full_name(product, property);
            let mut subject = format!("property {name} of {}", entity.id.value);
            for word in rules(property) {
                subject.push_str(", ");
                subject.push_str(&word);
            }
            lines.push(explained(subject, [text(&property.label), text(&property.description)]));
        }
        for licence in &entity.licences {
            let count = strings.text(licence).chars().count();
            lines.push(format!("licence of {}: {count} characters, which --json has", entity.id.value));
        }
        lines
            .extend(entity.annotations.iter().map(|it| format!("{}: {}", entity.id.value, strings.text(it))));
    }
    lines
}

/// What a value has to be, in words.
fn rules(property: &Property) -> Vec<String> {
    let Qualifiers { min_length, max_length, min, max, .. } = &property.qualifiers;
    let mut words = Vec::new();
    if property.is_password {
        words.push("a password".to_owned());
    } else if property.kind != Type::String {
        words.push(property.kind.name().to_owned());
    }
    if property.qualifiers.wants_a_value() {
        words.push("required".to_owned());
    }
    match (min_length.filter(|&it| it > 1), max_length) {
        (Some(least), Some(most)) => words.push(format!("{least} to {most} characters")),
        (Some(least), None) => words.push(format!("{least} characters or more")),
        (None, Some(most)) => words.push(format!("{most} characters or fewer")),
        (None, None) => {}
    }
    words.extend(min.map(|it| format!("at least {it}")));
    words.extend(max.map(|it| format!("at most {it}")));
    // What a password may be is half of what it is.
    let choices = property.qualifiers.choices().filter(|_| !property.is_password);
    words.extend(choices.map(|it| format!("one of {it}")));
    if property.asks.is_some() {
        words.push("or what the platform gives".to_owned());
    }
    words
}

/// A subject, and what is said of it, which may be nothing.
fn explained(subject: String, texts: [String; 2]) -> String {
    texts.into_iter().filter(|it| !it.is_empty()).fold(subject, |line, text| format!("{line}: {text}"))
}

pub(super) fn package(descriptor: &Descriptor, strings: &Strings) -> Value {
    let text = |message: &Option<Message>| message.as_ref().map(|it| strings.text(it).to_owned());
    let entities = descriptor.entities.iter().map(|entity| {
        let products = entity.products.iter().filter(|it| it.product.is_some() || it.vendor.is_some());
        let properties = entity.products.iter().flat_map(|product| {
            product.properties.iter().enumerate().map(|(place, property)| {
                let Qualifiers { min_length, max_length, min, max, values } = &property.qualifiers;
                json!({
                    "name": full_name(product, property),
                    "entity": entity.id.value,
                    "category": product.category(place).map(|it| strings.text(it)),
                    "label": text(&property.label),
                    "description": text(&property.description),
                    "type": property.kind.name(),
                    "choices": values.as_ref().filter(|_| !property.is_password),
                    "min-length": min_length,
                    "max-length": max_length,
                    "min": min,
                    "max": max,
                    "assignable": property.asks.is_some(),
                    "required": property.qualifiers.wants_a_value(),
                    "configurable": property.is_configurable,
                    "password": property.is_password,
                    "default": property.default.is_some(),
                })
            })
        });
        let startup = entity.startup.iter().map(|it| {
            json!({
                "id": it.id.value, "order": it.order, "start-delay": it.start_delay,
                "waiting-for-guest": it.waits_for_guest, "start-action": it.start_action.value,
                "stop-delay": it.stop_delay, "stop-action": it.stop_action.value,
            })
        });
        json!({
            "id": entity.id.value,
            "kind": if entity.kind == Kind::System { "system" } else { "collection" },
            "parent": entity.parent.map(|it| &descriptor.entities[it].id.value),
            "name": text(&entity.name),
            "products": products.map(|it| json!({
                "product": text(&it.product), "vendor": text(&it.vendor), "version": it.version,
            })).collect::<Vec<_>>(),
            "properties": properties.collect::<Vec<_>>(),
            "startup": startup.collect::<Vec<_>>(),
            "licences": entity.licences.iter().map(|it| strings.text(it)).collect::<Vec<_>>(),
            "annotations": entity.annotations.iter().map(|it| strings.text(it)).collect::<Vec<_>>(),
            "transports": entity.hardware.iter().flat_map(|it| &it.transports).collect::<Vec<_>>(),
            "operating-system": entity.operating_system,
            "install-stop-delay": entity.install,
        })
    });
    json!({
        "version": descriptor.version.as_str(),
        "conformance": descriptor.conformance,
        "entities": entities.collect::<Vec<_>>(),
        "configurations": descriptor.configurations.iter().map(|it| json!({
            "id": it.id.value,
            "usual": descriptor.usual_configuration() == Some(&it.id.value),
            "label": text(&it.label),
            "description": text(&it.description),
        })).collect::<Vec<_>>(),
        "disks": descriptor.disks.iter().map(|it| json!({
            "id": it.id.value,
            "capacity": it.capacity.and_then(|it| u64::try_from(it).ok()),
            "file": it.file.as_ref().map(|it| &it.value),
            "parent": it.parent.as_ref().map(|it| &it.value),
        })).collect::<Vec<_>>(),
        "networks": descriptor.networks.iter().map(|it| &it.value).collect::<Vec<_>>(),
    })
}
