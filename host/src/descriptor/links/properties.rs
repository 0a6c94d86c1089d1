//! Properties: their names, defaults and macros.
//!
//! Decides which default values cannot be meant before anybody sets anything. Values are never shown.
//!
//! The rule: DSP0243, 9.5 and 9.5.1.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::Links;
use crate::descriptor::{Placed, Property, full_name};
use crate::finding::{Code, quoted};
use crate::macros::{Found, Names};
use crate::property::{Piece, has_macro, pieces};

impl Links<'_> {
    pub(super) fn properties(&mut self) {
        let descriptor = self.descriptor;
        let mut parents: HashMap<usize, Names<'_>> = HashMap::new();
        for (index, entity) in descriptor.entities.iter().enumerate() {
            let parent = entity
                .parent
                .map(|parent| &*parents.entry(parent).or_insert_with(|| Names::of(descriptor, parent)));
            self.names(index);
            let own = Names::of(descriptor, index);
            for (product, property) in descriptor.properties(index) {
                let name = full_name(product, property);
                self.property(&name, property);
                let values = property.values.iter().map(|(_, value)| value);
                for value in property.default.iter().chain(values) {
                    self.value(&name, property, value, parent, &own);
                }
                for (configuration, _) in &property.values {
                    let who = format!("a Value of {}", quoted(&name));
                    self.configuration(Code::DanglingConfiguration, &who, configuration);
                }
            }
        }
    }

    /// An entity's properties have names of their own.
    fn names(&mut self, entity: usize) {
        let descriptor = self.descriptor;
        let (mut exact, mut composed) = (HashSet::new(), HashMap::new());
        for (product, property) in descriptor.properties(entity) {
            let name = full_name(product, property);
            if !exact.insert((&product.class, &property.key.value, &product.instance)) {
                let message = format!("{} is a property of this element already; remove one", quoted(&name));
                self.find(Code::PropertyDuplicate, property.key.at, message);
            } else if let Some(first) = composed.insert(name.clone(), property.key.at) {
                let line = self.source.at(first).line;
                let message = format!(
                    "another property, on line {line}, is {} in the guest as well, though class and key are cut differently; \
                     rename one",
                    quoted(&name)
                );
                self.find(Code::PropertyCollision, property.key.at, message);
            }
        }
    }

    fn property(&mut self, name: &str, property: &Property) {
        let key = &property.key;
        let offends = key.value.contains(['.', ':']);
        if key.value.is_empty() || key.value.chars().any(|it| it.is_control() || it.is_whitespace()) {
            let message = "the key is empty or has blanks in it; write one of letters and digits";
            self.find(Code::BadValue, key.at, message);
        } else if offends {
            let message = format!(
                "the key {} has a dot or a colon, which DSP0243 forbids and vSphere allows; put what is before it into \
                 ovf:class",
                quoted(&key.value)
            );
            self.find(Code::PropertyKey, key.at, message);
        }
        let nobody = property.values.is_empty() && !property.is_configurable && property.asks.is_none();
        if property.default.is_none() && nobody {
            let message = format!(
                "{} has no value, and nobody may give it one; add ovf:userConfigurable=\"true\" or ovf:value",
                quoted(name)
            );
            self.find(Code::PropertyUnsettable, key.at, message);
        }
        let given = property.default.as_ref().filter(|it| !it.value.is_empty() && !has_macro(&it.value));
        if let Some(given) = given.filter(|_| property.is_password) {
            let message = format!(
                "{} is a password, and its default is here for everybody to read; remove it, and let ovf-agent generate one",
                quoted(name)
            );
            self.find(Code::PasswordGiven, given.at, message);
        }
    }

    fn value(
        &mut self,
        name: &str,
        property: &Property,
        value: &Placed,
        parent: Option<&Names<'_>>,
        own: &Names<'_>,
    ) {
        let (trimmed, had_blanks) = value.trimmed();
        if had_blanks {
            let message = format!(
                "the value of {} begins or ends with blanks, which were hardly meant and are taken off; remove them",
                quoted(name)
            );
            self.find(Code::PropertyBlanks, value.at, message);
        }
        let mut is_whole = true;
        for piece in pieces(trimmed) {
            let Piece::Macro(wanted) = piece else { continue };
            is_whole = false;
            if self.findings.is_over() {
                break;
            }
            self.wanted(name, wanted, value.at, parent, own);
        }
        // Nothing is "not set", whatever the type.
        if !is_whole || trimmed.is_empty() {
            return;
        }
        if let Err(want) = property.kind.check(trimmed).and_then(|()| property.qualifiers.check(trimmed)) {
            let message = format!(
                "the value of {} is not {want}; correct it, or the type and qualifiers",
                quoted(name)
            );
            self.find(Code::PropertyValue, value.at, message);
        }
    }

    fn wanted(&mut self, name: &str, wanted: &str, at: usize, parent: Option<&Names<'_>>, own: &Names<'_>) {
        let shown = quoted(&format!("${{{wanted}}}"));
        let Some(parent) = parent else {
            let message = format!(
                "the value of {} is to take in {shown}, and there is no collection around it that could have that property",
                quoted(name)
            );
            return self.find(Code::MacroUnknown, at, message);
        };
        match parent.find(wanted) {
            Found::One(_) => {}
            Found::None => {
                let meant = match own.find(wanted) {
                    Found::None => self.meant(wanted, parent.all()),
                    _ => "it is one of its own, which macros do not reach; write its value".to_owned(),
                };
                let message = format!(
                    "the value of {}: {shown} names no property of the collection; {meant}",
                    quoted(name)
                );
                self.find(Code::MacroUnknown, at, message);
            }
            Found::Many(count) => {
                let message = format!(
                    "the value of {}: {shown} names {count} properties of the collection; write class and instance as well",
                    quoted(name)
                );
                self.find(Code::MacroAmbiguous, at, message);
            }
        }
    }
}
