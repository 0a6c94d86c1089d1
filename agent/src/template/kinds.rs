//! What the declared types rule out, before any environment is seen.
//!
//! Decides what is certain about a name: a parameter has its declared type wherever it is not null, a derived value that
//! of the parameter that it is, or text. Nothing is said of what is not certain, such as what a filter gives. Whether a
//! name is there at all is decided in `names`.

#![forbid(unsafe_code)]

use super::escape::Print;
use super::names::{ADAPTER, ADAPTERS, EACH, Scope};
use super::path::{Slot, Target};
use super::refusal::Refusal;
use super::scan::Use;
use crate::parameters::{Parameter, Scalar, Type};

impl Scope<'_> {
    /// The type of a name wherever it is not null, if that is certain.
    pub(super) fn kind(&self, name: &str) -> Option<Type> {
        match (name, self.each.filter(|_| EACH.contains(&name)).map(|each| self.declared_kind(each))) {
            (_, None) => self.declared_kind(name),
            ("index", _) => Some(Type::Scalar(Scalar::Uint)),
            ("item", Some(Some(Type::List(item) | Type::Map(item)))) => Some(*item),
            ("key", Some(Some(Type::Map(_)))) => Some(Type::Scalar(Scalar::String)),
            _ => None,
        }
    }

    fn declared_kind(&self, name: &str) -> Option<Type> {
        match self.derived.get(name) {
            Some(derived) => derived.kind.clone(),
            // An adapter's fields are text or numbers.
            None if name == ADAPTERS => Some(Type::List(Box::new(Type::Map(Box::new(TEXT))))),
            None => self.declared.get(name).map(Parameter::type_in_templates),
        }
    }
}

/// The type of what is known to be text.
pub(super) const TEXT: Type = Type::Scalar(Scalar::String);

/// What is wrong with a `for-each`.
pub(super) fn check_each(name: &str, path: &Target, scope: Scope<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        wrong.push(format!(
            "for-each = \"{name}\" is no name; write that of one parameter, and make a derived value of anything else"
        ));
    } else if name != ADAPTERS && !scope.contains(name) {
        wrong.push(format!("for-each: {}", scope.unknown(name)));
    }
    for own in EACH.into_iter().filter(|own| scope.contains(own)) {
        wrong.push(format!("for-each makes the name `{own}`, which is declared in agent.toml; rename that"));
    }
    let (keys, element) = match scope.declared_kind(name) {
        Some(kind @ Type::Scalar(_)) => {
            wrong.push(format!(
                "for-each: `{name}` is of type {kind}, and neither a list nor a map; name one, or leave for-each out"
            ));
            return wrong;
        }
        Some(Type::List(element)) => (false, Some(*element)),
        Some(Type::Map(element)) => (true, Some(*element)),
        None => (true, None),
    };
    for slot in path.slots() {
        wrong.extend(match (slot, &element) {
            (Slot::Index, _) => None,
            _ if scope.is_sensitive(name) => {
                Some(format!("{slot}: `{name}` is sensitive, and cannot be part of a path; use {{index}}"))
            }
            (Slot::Key, _) if keys => None,
            (Slot::Key, _) => {
                let or = if name == ADAPTERS { " or {item.ifname}" } else { "" };
                Some(format!("{{key}}: `{name}` is a list, and has no keys; use {{index}}{or}"))
            }
            (Slot::Item(field), _) if name == ADAPTERS => {
                let known = field.as_ref().is_some_and(|field| ADAPTER.contains(&field.as_str()));
                (!known).then(|| format!("{slot}: an adapter has the fields {}", ADAPTER.join(", ")))
            }
            (Slot::Item(None), Some(kind)) => check_name(slot, kind),
            (Slot::Item(Some(_)), Some(Type::Map(kind))) => check_name(slot, kind),
            (Slot::Item(Some(_)), Some(kind)) => {
                let or = if check_name(slot, kind).is_none() { " or {item}" } else { "" };
                Some(format!(
                    "{slot}: the elements of `{name}` are of type {kind} and have no fields; use {{index}}{or}"
                ))
            }
            (Slot::Item(_), None) => None,
        });
    }
    wrong
}

/// Whether values of a type can be names in a path at all.
fn check_name(slot: &Slot, kind: &Type) -> Option<String> {
    use Scalar::{Bool, Cidr, Email, Fqdn, Ip, Ipv4, Ipv6, Netmask, Real, Url};
    match kind {
        // Each of them has a dot, a colon, a slash or an @, or is neither text nor a whole number.
        Type::Scalar(Bool | Cidr | Email | Fqdn | Ip | Ipv4 | Ipv6 | Netmask | Real | Url) => Some(format!(
            "{slot}: no value of type {kind} is made of a-z, 0-9 and - alone, as a name in a path is; use {{index}}"
        )),
        Type::Scalar(_) => None,
        Type::List(_) => Some(format!("{slot}: a value of type {kind} is no name; use {{index}}")),
        Type::Map(_) => {
            Some(format!("{slot}: a value of type {kind} is no name; use {{index}} or {{item.FIELD}}"))
        }
    }
}

/// What is wrong with a variable, or with a field of it.
pub(super) fn check_use(found: &Use<'_>, scope: Scope<'_>) -> Option<String> {
    let Use { name, field, deeper, .. } = *found;
    if let Some(each) = scope.each {
        if name == "key" && matches!(scope.declared_kind(each), Some(Type::List(_))) {
            return Some(format!("`{each}` is a list, and its elements have no `key`; use `index`"));
        }
        if name == "item" && each == ADAPTERS && field.is_some_and(|field| !ADAPTER.contains(&field)) {
            return Some(format!("an adapter has the fields {}; write one of them", ADAPTER.join(", ")));
        }
    }
    field?;
    match scope.kind(name)? {
        Type::List(_) => {
            Some(format!("`{name}` is a list; write {{% for x in {name} %}} and use x's fields"))
        }
        kind @ Type::Scalar(_) => Some(format!("`{name}` is of type {kind} and has no fields")),
        Type::Map(kind) if deeper && !matches!(*kind, Type::Map(_)) => {
            Some(format!("the values of `{name}` are of type {kind} and have no fields"))
        }
        Type::Map(_) => None,
    }
}

/// What is wrong with printing a variable by itself.
pub(super) fn check_print(name: &str, print: Print, scope: Scope<'_>) -> Option<String> {
    match (print, scope.kind(name)?) {
        (Print::Typed, _) | (Print::Truth, Type::Scalar(Scalar::Bool)) => None,
        (Print::Truth, kind) => {
            Some(format!("`{name}` is of type {kind}, neither true nor false; compare it with something"))
        }
        (_, Type::List(_) | Type::Map(_)) => Some(format!("`{name}` {}", Refusal::COMPOSITE.sentence())),
        (_, Type::Scalar(_)) => None,
    }
}
