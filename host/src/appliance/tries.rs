//! What a property can hold, tried on the appliance that is to take it.
//!
//! Decides which texts stand for all that a property's type and ValueMap let through (DSP0243, 9.5 with tables 6 and 7), and what
//! it means when the appliance refuses some of them, or all. What it takes, its own agent is asked, since a descriptor has `string`
//! for most types that a parameter can have. Numbers and truth values on both sides are compared without it (`compare`).

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ovf_agent::environment::Platform;

use super::{Comparing, compare, refused};
use crate::descriptor::Property;
use crate::document;
use crate::finding::{Code, quoted};
use crate::property::Type;

/// Values of a ValueMap that are tried; a longer one is left to whoever deploys.
const MAX_VALUES: usize = 24;

/// Neither a number nor a truth value, nor of any type that has a form: plain text takes it.
const PLAIN: &str = "- -";

/// Whole numbers of every length, small and large, as far as a type has them.
const INTEGERS: [i128; 24] = [
    -1_000_000,
    -4_095,
    -100,
    -10,
    -1,
    0,
    1,
    10,
    24,
    80,
    200,
    255,
    1_000,
    8_080,
    65_535,
    100_000,
    1_234_567,
    12_345_678,
    123_456_789,
    4_294_967_295,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    1_000_000_000_000_000,
];

/// Reals with and without a fraction, a sign and an exponent.
const REALS: [&str; 8] = ["0", "1", "1000", "-1", "0.5", "-1.5", "192.02", "1.5e3"];

/// A property, and what the appliance makes of what it can hold.
struct Tried<'a> {
    name: &'a str,
    offered: &'a Property,
    texts: Vec<Cow<'a, str>>,
    /// Whether there are no other values.
    is_all: bool,
    /// The rules by which texts were refused.
    rules: Vec<String>,
}

impl<'a> Tried<'a> {
    /// What is to be tried, if anything is. What nobody may change is tried as it stands, elsewhere.
    fn new(name: &'a str, wanted: &Property, offered: &'a Property) -> Option<Self> {
        if wanted.kind != Type::String || !offered.is_configurable {
            return None;
        }
        let listed = offered.qualifiers.values.as_deref();
        let texts: Vec<Cow<'a, str>> = match (listed, offered.kind) {
            // Its values are compared with those of the parameter's own list.
            (Some(_), Type::String) if wanted.qualifiers.values.is_some() => return None,
            (Some(values), _) => values.iter().map(|it| it.as_str().into()).collect(),
            (None, Type::String) => return None,
            (None, Type::Boolean) => ["true", "false"].map(Cow::from).into(),
            (None, Type::Integer(range)) => {
                let ends = range.into_iter().flat_map(|(from, to)| [from, to]);
                let bounds = [offered.qualifiers.min, offered.qualifiers.max].into_iter().flatten();
                ends.chain(bounds.map(|it| it as i128))
                    .chain(INTEGERS)
                    .map(|it| it.to_string().into())
                    .collect()
            }
            (None, Type::Real(_)) => REALS.map(Cow::from).into(),
        };
        let fits = |it: &Cow<'_, str>| {
            offered.kind.check(it).and_then(|()| offered.qualifiers.check(it)).is_ok()
                && !it.trim().is_empty()
        };
        let texts: Vec<_> = texts.into_iter().filter(fits).collect();
        if texts.is_empty() || (listed.is_some() && texts.len() > MAX_VALUES) {
            return None;
        }
        let is_all = listed.is_some() || offered.kind == Type::Boolean;
        Some(Self { name, offered, texts, is_all, rules: Vec::new() })
    }

    /// What is wrong, if anything is; `plain` is the rule by which plain text is refused.
    fn verdict(&self, plain: Option<&String>) -> Option<(Code, String)> {
        let name = quoted(self.name);
        let (first, all) = (self.rules.first(), self.rules.len() == self.texts.len());
        let (code, what, rule) = match first {
            // Of the type alone there is nothing else to try; a pattern may be for what was not tried.
            Some(rule) if all && (self.is_all || self.rules.iter().all(|it| is_of_type(it))) => {
                (Code::AgentMismatch, "of which the appliance would refuse every one", rule)
            }
            Some(rule) => (Code::AgentType, "of which the appliance would refuse some", rule),
            None => {
                let rule = plain.filter(|rule| self.offered.kind != Type::String && is_of_type(rule))?;
                (Code::AgentType, "where the appliance asks for another type", rule)
            }
        };
        let held = match &self.offered.qualifiers.values {
            Some(values) => format!("one of the {} values of its ValueMap", values.len()),
            None => compare::rule(self.offered.kind),
        };
        let remedy = "write the type and qualifiers of `ovf-agent schema --ovf`";
        Some((code, format!("the descriptor lets {name} be {held}, {what}: {rule}; {remedy}")))
    }
}

/// Whether a rule is one of the type, and not of `one-of`, `pattern` or a length.
fn is_of_type(rule: &str) -> bool {
    rule.strip_prefix("it must be ").is_some_and(|rest| !rest.starts_with("one of "))
}

impl Comparing<'_, '_> {
    /// What the properties of a virtual system can hold, tried on its appliance.
    pub(super) fn tried(
        &mut self,
        system: usize,
        appliance: (&Path, &Path),
        parameters: &BTreeMap<String, Property>,
    ) {
        if self.findings.is_full() {
            return;
        }
        let visible = self.visible(system).clone();
        let parameters = parameters.iter();
        let mut all: Vec<Tried<'_>> =
            parameters.filter_map(|(name, wanted)| Tried::new(name, wanted, visible.get(name)?.1)).collect();
        if all.is_empty() {
            return;
        }
        for turn in 0..all.iter().map(|it| it.texts.len()).max().unwrap_or(0) {
            let values: Vec<_> =
                all.iter().filter_map(|it| Some((it.name, it.texts.get(turn)?.as_ref()))).collect();
            let rules = self.answer(appliance, &values);
            for it in all.iter_mut().filter(|it| turn < it.texts.len()) {
                it.rules.extend(rules.get(it.name).cloned());
            }
        }
        let plain: Vec<_> = all.iter().map(|it| (it.name, PLAIN)).collect();
        let plain = self.answer(appliance, &plain);
        for it in all {
            if let Some((code, message)) = it.verdict(plain.get(it.name)) {
                self.find(code, it.offered.key.at, message);
            }
        }
    }

    /// What the agent refuses of these values, and why. Machines that are alike are tried once.
    fn answer(
        &mut self,
        (directory, program): (&Path, &Path),
        values: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        let mut document = String::new();
        document::begin(&mut document, "", &Platform::default());
        document::properties(&mut document, 1, values.iter().copied());
        document::end(&mut document);
        let answer = |(_, document): &(PathBuf, String)| refused::ask(directory, program, document);
        let known = self.tries.entry((directory.to_owned(), document));
        known.or_insert_with_key(|asked| answer(asked).unwrap_or_default()).clone()
    }
}
