//! The properties of a package that is made here: whose they are, and what they are.
//!
//! Decides where a property stands. A machine has those that its agent declares, but for those that the collection around it has:
//! they are asked for once, and the machine sees them all the same (DSP0243, clause 11: a guest sees its own and its immediate
//! parent's). A group has its own, and hands on those of the whole appliance that its machines need. What is wrong is said by
//! its place in `appliance.toml`, since nobody sees the descriptor before it is right.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node};
use toml::Spanned;

use crate::descriptor::NAMESPACE;
use crate::finding::quoted;
use crate::property::{Named, Piece, Qualifiers, Type, has_macro, pieces};
use crate::recipe::{Assign, Machine, Recipe, Shared, in_order};
use crate::suggest;

/// A property as the descriptor will have it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Property {
    /// Its name in the guest: the class, a dot, and the key, which has none itself.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) qualifiers: String,
    pub(super) is_configurable: bool,
    pub(super) is_password: bool,
    pub(super) value: Option<String>,
    /// Values of single deployment options.
    pub(super) values: Vec<(String, String)>,
    /// What it asks the platform for, as VMware has it.
    pub(super) asks: String,
    pub(super) label: Option<String>,
    pub(super) description: Option<String>,
}

/// What an agent declares, as it prints it.
pub(super) fn declared(sections: &str) -> Vec<Property> {
    let whole = format!("<all>{sections}</all>");
    // It has been read before, or there would be none.
    let Ok(tree) = Document::parse(&whole) else { return Vec::new() };
    let is = |name: &'static str| move |it: &Node<'_, '_>| it.has_tag_name((NAMESPACE, name));
    let mut all = Vec::new();
    for section in tree.root_element().children().filter(is("ProductSection")) {
        let class = section.attribute((NAMESPACE, "class")).unwrap_or_default();
        for node in section.children().filter(is("Property")) {
            let attribute = |name: &str| node.attribute((NAMESPACE, name)).unwrap_or_default().to_owned();
            let text = |name| Some(node.children().find(is(name))?.text()?.to_owned());
            let key = attribute("key");
            all.push(Property {
                name: if class.is_empty() { key } else { format!("{class}.{key}") },
                kind: attribute("type"),
                qualifiers: attribute("qualifiers"),
                is_configurable: attribute("userConfigurable") == "true",
                is_password: attribute("password") == "true",
                value: node.attribute((NAMESPACE, "value")).map(str::to_owned),
                values: Vec::new(),
                asks: String::new(),
                label: text("Label"),
                description: text("Description"),
            });
        }
    }
    all
}

/// Whose properties are what.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// Those of the whole appliance.
    pub(super) whole: Vec<Property>,
    /// Those of groups, by their ids.
    pub(super) groups: BTreeMap<String, Vec<Property>>,
    /// Those of machines, by their ids.
    pub(super) machines: BTreeMap<String, Vec<Property>>,
}

impl Properties {
    /// Puts each where it belongs; `machines` is what their agents declare. What cannot be is told by its place in the recipe.
    pub(super) fn of(
        recipe: &Recipe,
        machines: &BTreeMap<String, Vec<Property>>,
        find: &mut dyn FnMut(usize, String),
    ) -> Self {
        let mut all = Self::default();
        for (name, shared) in in_order(&recipe.properties) {
            let first = machines.values().flatten().find(|it| it.name == name);
            let mut property = self::shared(name, shared, first, &[], find);
            property.asks = asks(shared.assign.as_ref().map(|it| *it.get_ref()), only_network(recipe));
            all.whole.push(property);
        }
        for (id, group) in in_order(&recipe.groups) {
            let members = || members(recipe, id).map(|(id, machine)| (machine, &machines[id]));
            let mut own = Vec::new();
            for (name, shared) in in_order(&group.properties) {
                let first = members().flat_map(|(_, declared)| declared).find(|it| it.name == name);
                let mut property = self::shared(name, shared, first, &all.whole, find);
                property.asks = asks(shared.assign.as_ref().map(|it| *it.get_ref()), only_network(recipe));
                own.push(property);
            }
            let wanted: BTreeSet<&str> =
                members().flat_map(|(machine, declared)| wanted(machine, declared)).collect();
            for property in &all.whole {
                let is_wanted =
                    wanted.contains(property.name.as_str()) || wanted.contains(key(&property.name));
                if is_wanted && !own.iter().any(|it| it.name == property.name) {
                    own.push(Property {
                        name: property.name.clone(),
                        kind: property.kind.clone(),
                        is_password: property.is_password,
                        value: Some(format!("${{{}}}", property.name)),
                        ..Property::default()
                    });
                }
            }
            all.groups.insert(id.to_owned(), own);
        }
        for (id, machine) in &recipe.machines {
            let around = match &machine.group {
                Some(group) => all.groups.get(group.get_ref()).map_or(&[][..], Vec::as_slice),
                None => &all.whole,
            };
            let declared = &machines[id.get_ref()];
            let properties = of_machine(machine, declared, around, find);
            all.machines.insert(id.get_ref().clone(), properties);
        }
        all
    }
}

/// The machines of a group.
fn members<'r>(recipe: &'r Recipe, group: &str) -> impl Iterator<Item = (&'r str, &'r Machine)> {
    let is_member = move |machine: &Machine| machine.group.as_ref().is_some_and(|it| it.get_ref() == group);
    let members: Vec<_> = recipe.machines.iter().filter(|(_, machine)| is_member(machine)).collect();
    members.into_iter().map(|(id, machine)| (id.get_ref().as_str(), machine))
}

/// What a machine takes of what is around it: what its agent asks for and nobody says, and what its values take in.
fn wanted<'m>(machine: &'m Machine, declared: &'m [Property]) -> impl Iterator<Item = &'m str> {
    let otherwise = machine.configurations.values().flat_map(|it| it.values.values());
    let values = machine.values.values().chain(otherwise);
    let macros = values.flat_map(|it| pieces(it.get_ref())).filter_map(|piece| match piece {
        Piece::Macro(name) => Some(name),
        Piece::Text(_) => None,
    });
    declared.iter().map(|it| it.name.as_str()).chain(macros)
}

/// The name without its class.
pub(super) fn key(name: &str) -> &str {
    split(name).1
}

/// As `ovf-agent schema --ovf` cuts it.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').filter(|(class, key)| !class.is_empty() && !key.is_empty()).unwrap_or(("", name))
}

/// A property of a collection: what the recipe says, and for the rest what an agent declares.
fn shared(
    name: &str,
    shared: &Shared,
    declared: Option<&Property>,
    around: &[Property],
    find: &mut dyn FnMut(usize, String),
) -> Property {
    let string = || Property { kind: "string".to_owned(), is_configurable: true, ..Property::default() };
    let mut property = declared.cloned().unwrap_or_else(string);
    property.name = name.to_owned();
    if let Some(kind) = &shared.kind {
        property.kind.clone_from(kind.get_ref());
    }
    if let Some(qualifiers) = &shared.qualifiers {
        property.qualifiers.clone_from(qualifiers);
    }
    property.label = shared.label.clone().or(property.label);
    property.description = shared.description.clone().or(property.description);
    property.is_password = shared.password.unwrap_or(property.is_password);
    if let Some(value) = shared.value.as_ref().or(shared.default.as_ref()) {
        property.is_configurable = shared.value.is_none();
        property.set(value, around, find);
    }
    property.otherwise(in_place(&shared.configurations), around, find);
    property
}

/// The network of an appliance that has only one.
fn only_network(recipe: &Recipe) -> Option<&str> {
    recipe.networks.keys().next().filter(|_| recipe.networks.len() == 1).map(String::as_str)
}

/// VMware's word for what is asked for, and the network that it is asked of.
fn asks(assign: Option<Assign>, network: Option<&str>) -> String {
    let word = match assign {
        None => return String::new(),
        Some(Assign::Mac) => return "Mac".to_owned(),
        Some(Assign::Address) => "Ip",
        Some(Assign::Netmask) => "Netmask",
        Some(Assign::Prefix) => "HostPrefix",
        Some(Assign::Gateway) => "Gateway",
    };
    network.map_or(word.to_owned(), |network| format!("{word}('{network}')"))
}

fn in_place(
    table: &BTreeMap<Spanned<String>, Spanned<String>>,
) -> impl Iterator<Item = (&str, &Spanned<String>)> {
    in_order(table).into_iter()
}

fn of_machine(
    machine: &Machine,
    declared: &[Property],
    around: &[Property],
    find: &mut dyn FnMut(usize, String),
) -> Vec<Property> {
    let is_around = |name: &str| around.iter().any(|it| it.name == name);
    let is_given =
        |name: &str| machine.values.keys().chain(machine.assign.keys()).any(|it| it.get_ref() == name);
    let mut own: Vec<Property> =
        declared.iter().filter(|it| is_given(&it.name) || !is_around(&it.name)).cloned().collect();
    let find_own = |name: &Spanned<String>, own: &mut Vec<Property>, find: &mut dyn FnMut(usize, String)| {
        let index = own.iter().position(|it| it.name == *name.get_ref());
        if index.is_none() {
            let shown = quoted(name.get_ref());
            let message = match (is_around(name.get_ref()), machine.agent.is_some()) {
                (true, _) => format!(
                    "{shown} is a property of the collection around this machine; write its configurations there"
                ),
                (_, false) => format!(
                    "nothing on this machine reads {shown}; say by `agent` where its agent's configuration is"
                ),
                _ => {
                    let known: Vec<&str> = declared.iter().map(|it| it.name.as_str()).collect();
                    format!(
                        "no parameter of this machine's agent reads {shown}; {}",
                        suggest::meant(name.get_ref(), known)
                    )
                }
            };
            find(name.span().start, message);
        }
        index
    };
    for (name, value) in &machine.values {
        if let Some(index) = find_own(name, &mut own, find) {
            own[index].is_configurable = false;
            own[index].set(value, around, find);
        }
    }
    for (name, assign) in &machine.assign {
        if let Some(index) = find_own(name, &mut own, find) {
            own[index].asks = asks(Some(*assign), machine.networks.first().map(|it| it.get_ref().as_str()));
        }
    }
    for (option, otherwise) in in_order(&machine.configurations) {
        for (name, value) in &otherwise.values {
            if let Some(index) = find_own(name, &mut own, find) {
                own[index].otherwise([(option, value)].into_iter(), around, find);
            }
        }
    }
    own
}

impl Property {
    fn set(&mut self, value: &Spanned<String>, around: &[Self], find: &mut dyn FnMut(usize, String)) {
        self.judge(value, around, find);
        self.value = Some(value.get_ref().clone());
    }

    fn otherwise<'v>(
        &mut self,
        values: impl Iterator<Item = (&'v str, &'v Spanned<String>)>,
        around: &[Self],
        find: &mut dyn FnMut(usize, String),
    ) {
        for (option, value) in values {
            self.judge(value, around, find);
            self.values.push((option.to_owned(), value.get_ref().clone()));
        }
    }

    /// Whether a value can be: what it takes in is around it, and it fits the type. The value itself is not shown.
    fn judge(&self, value: &Spanned<String>, around: &[Self], find: &mut dyn FnMut(usize, String)) {
        let (text, at) = (value.get_ref().trim(), value.span().start);
        for piece in pieces(text) {
            let Piece::Macro(wanted) = piece else { continue };
            if !around.iter().any(|it| it.name == wanted || key(&it.name) == wanted) {
                let shown = quoted(&format!("${{{wanted}}}"));
                let known: Vec<&str> = around.iter().map(|it| it.name.as_str()).collect();
                let meant = suggest::meant(wanted, known);
                find(at, format!("{shown} is no property of the collection around this; {meant}"));
            }
        }
        let kind = match Type::named(&self.kind) {
            Named::Standard(kind) | Named::Foreign(kind, _) => kind,
            Named::Unknown => return,
        };
        let (qualifiers, _) = Qualifiers::read(&self.qualifiers, &kind);
        if !text.is_empty()
            && !has_macro(text)
            && let Err(want) = kind.check(text).and_then(|()| qualifiers.check(text))
        {
            find(at, format!("the value of {} is not {want}", quoted(&self.name)));
        }
    }
}
