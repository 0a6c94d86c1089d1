//! Which namespace a prefix stands for at a place in the document: Namespaces in XML 1.0.
//!
//! Decides what a declaration may bind and what an undeclared prefix means: `oe:` and `ovfenv:`, the two that
//! everybody uses for the environment, are taken for it, any other is refused. Does not decide which
//! namespaces are ours.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{NAMESPACE, VMWARE_NAMESPACE};

/// A namespace, by number: two are the same if their URIs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Namespace(usize);

impl Namespace {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ENVIRONMENT: Self = Self(1);
    pub(super) const VMWARE: Self = Self(2);
    /// The descriptor's namespace in OVF 1.
    pub(super) const ENVELOPE_1: Self = Self(3);
    /// The descriptor's namespace in OVF 2.
    pub(super) const ENVELOPE_2: Self = Self(4);
    pub(super) const XML: Self = Self(5);
    /// The namespace of namespace declarations.
    pub(super) const XMLNS: Self = Self(6);
    /// The environment's namespace, where only an undeclared prefix says so.
    pub(super) const ASSUMED: Self = Self(7);

    /// The namespace that it is once the undeclared prefix is declared.
    pub(super) fn bound(self) -> Self {
        if self == Self::ASSUMED { Self::ENVIRONMENT } else { self }
    }
}

/// URIs of the constants above, in their order. The last never comes from a declaration.
const KNOWN: [&str; 8] = [
    "",
    NAMESPACE,
    VMWARE_NAMESPACE,
    "http://schemas.dmtf.org/ovf/envelope/1",
    "http://schemas.dmtf.org/ovf/envelope/2",
    "http://www.w3.org/XML/1998/namespace",
    "http://www.w3.org/2000/xmlns/",
    NAMESPACE,
];

/// Prefixes that mean the environment even where nothing declares them.
const CONVENTIONAL: [&str; 2] = ["oe", "ovfenv"];

/// What an undeclared prefix came to.
pub(super) enum Resolved {
    /// Declared.
    Bound(Namespace),
    /// Not declared, but one of the conventional ones; true the first time.
    Assumed(bool),
    /// Not declared.
    Unbound,
}

/// What a prefix is bound to, and how deep the element is that says so.
#[derive(Clone, Copy)]
struct Binding {
    depth: usize,
    namespace: Namespace,
}

/// What to restore when the element at this depth ends.
struct Shadowed<'a> {
    depth: usize,
    prefix: &'a str,
    before: Option<Binding>,
}

/// The bindings in scope. Maps are ordered ones: a document has a handful of prefixes, for which they are as
/// fast as a scan, and one made to be slow has thousands. The default namespace stays out of them, since most
/// names have it; so do the namespaces that we know, and `xml`, which is bound once and for all.
pub(super) struct Namespaces<'a> {
    /// Of the namespaces that are not known, in the order of their numbers.
    uris: Vec<Cow<'a, str>>,
    numbers: BTreeMap<Cow<'a, str>, Namespace>,
    default: Binding,
    bound: BTreeMap<&'a str, Binding>,
    shadowed: Vec<Shadowed<'a>>,
    assumed: [bool; CONVENTIONAL.len()],
}

impl<'a> Namespaces<'a> {
    pub(super) fn new() -> Self {
        Self {
            uris: Vec::new(),
            numbers: BTreeMap::new(),
            default: Binding { depth: 0, namespace: Namespace::NONE },
            bound: BTreeMap::new(),
            shadowed: Vec::new(),
            assumed: [false; CONVENTIONAL.len()],
        }
    }

    /// Binds a prefix (empty: the default) for an element at this depth and what is in it; false if that is
    /// not allowed.
    #[must_use]
    pub(super) fn declare(&mut self, depth: usize, prefix: &'a str, uri: Cow<'a, str>) -> bool {
        let namespace = self.number(uri);
        let allowed = match prefix {
            "xml" => return namespace == Namespace::XML,
            "xmlns" => false,
            _ if namespace == Namespace::XML || namespace == Namespace::XMLNS => false,
            _ => prefix.is_empty() || namespace != Namespace::NONE,
        };
        if allowed {
            let binding = Binding { depth, namespace };
            let before = if prefix.is_empty() {
                Some(std::mem::replace(&mut self.default, binding))
            } else {
                self.bound.insert(prefix, binding)
            };
            self.shadowed.push(Shadowed { depth, prefix, before });
        }
        allowed
    }

    fn number(&mut self, uri: Cow<'a, str>) -> Namespace {
        if let Some(number) = KNOWN[..Namespace::ASSUMED.0].iter().position(|known| *known == uri) {
            return Namespace(number);
        }
        if let Some(namespace) = self.numbers.get(&uri) {
            return *namespace;
        }
        let namespace = Namespace(KNOWN.len() + self.uris.len());
        self.uris.push(uri.clone());
        self.numbers.insert(uri, namespace);
        namespace
    }

    /// Forgets what elements deeper than this declared.
    pub(super) fn leave(&mut self, depth: usize) {
        while let Some(Shadowed { prefix, before, .. }) = self.shadowed.pop_if(|it| it.depth > depth) {
            match before {
                Some(before) if prefix.is_empty() => self.default = before,
                Some(before) => _ = self.bound.insert(prefix, before),
                None => _ = self.bound.remove(prefix),
            }
        }
    }

    /// What a prefix stands for here; the empty one is the default namespace.
    pub(super) fn resolve(&mut self, prefix: &str) -> Resolved {
        if prefix.is_empty() {
            return Resolved::Bound(self.default.namespace);
        }
        if prefix == "xml" {
            return Resolved::Bound(Namespace::XML);
        }
        if let Some(binding) = self.bound.get(prefix) {
            return Resolved::Bound(binding.namespace);
        }
        match CONVENTIONAL.iter().position(|it| *it == prefix) {
            Some(index) => Resolved::Assumed(!std::mem::replace(&mut self.assumed[index], true)),
            None => Resolved::Unbound,
        }
    }

    /// The URI of a namespace.
    pub(super) fn uri(&self, namespace: Namespace) -> &str {
        match namespace.0.checked_sub(KNOWN.len()) {
            Some(unknown) => &self.uris[unknown],
            None => KNOWN[namespace.0],
        }
    }

    /// Prefixes and URIs that an element at this depth inherits and does not declare itself, those that were
    /// assumed so far included.
    pub(super) fn inherited(&self, depth: usize) -> impl Iterator<Item = (&str, &str)> {
        let declared = std::iter::once((&"", &self.default))
            .chain(&self.bound)
            .filter(move |(_, it)| it.depth < depth && it.namespace != Namespace::NONE)
            .map(|(prefix, it)| (*prefix, self.uri(it.namespace)));
        let assumed = CONVENTIONAL
            .iter()
            .zip(self.assumed)
            .filter(|(prefix, assumed)| *assumed && !self.bound.contains_key(**prefix))
            .map(|(prefix, _)| (*prefix, NAMESPACE));
        declared.chain(assumed)
    }
}
