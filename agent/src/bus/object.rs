//! `org.ovf.Agent1`, the agent's object on the system bus: what may be asked of it, and the form of each answer.
//!
//! Decides names and types (docs/dbus.md), and what is no call of ours. Who may call what, and what is answered, is decided by the
//! caller. Not zbus's `#[interface]`, which needs its connection, its proxies and its object server for five methods.

#![forbid(unsafe_code)]

use std::num::NonZeroU32;

use zbus::message::{Flags, Type as Kind};
use zbus::{Array, Dict, Message, Signature, Variant};

use super::broker::body;
use super::socket;
use crate::parameters::Value;

/// The name on the bus, the interface, and the object.
pub const NAME: &str = "org.ovf.Agent1";
/// The object's path.
pub const PATH: &str = "/org/ovf/Agent1";

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PEER: &str = "org.freedesktop.DBus.Peer";

/// What there is, for `busctl introspect` and whoever makes code of it.
const INTROSPECTION: &str = include_str!("../../../packaging/dbus/org.ovf.Agent1.xml");

/// What somebody asks.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// What there is.
    Introspect(Node),
    /// Whether anybody is there.
    Ping,
    /// Which machine this is.
    MachineId,
    /// One property.
    Property(String),
    /// All of them.
    Properties,
    /// All of an interface that has none.
    NoProperties,
    /// A parameter's value, by its name, or by the key of what is no parameter.
    Parameter(String),
    /// All parameters.
    Parameters,
    /// That configuration and document are read again.
    Reload,
    /// That the guest is not ready, says who, and why.
    Hold(String, String),
}

/// Where somebody looks for us: the object, or a step on the way there, with the name of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The object.
    Object,
    /// A step on the way.
    Step(&'static str),
}

/// Why something is not done, in the bus's words and ours.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name of the error.
    pub name: &'static str,
    /// What is said to people.
    pub text: String,
}

impl Refusal {
    /// One with a name of D-Bus's own, or of ours.
    pub fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }
}

/// The names of errors.
pub mod error {
    /// The caller may not.
    pub const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
    /// There are too many of it.
    pub const LIMITS: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
    /// The arguments are no such.
    pub const ARGUMENTS: &str = "org.freedesktop.DBus.Error.InvalidArgs";
    /// There is no such property.
    pub const PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
    /// A property that is not for others to set.
    pub const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
    /// There is no such method.
    pub const METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
    /// The object has no such interface.
    pub const INTERFACE: &str = "org.freedesktop.DBus.Error.UnknownInterface";
    /// There is no such object.
    pub const OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
    /// It was tried, and failed.
    pub const FAILED: &str = "org.freedesktop.DBus.Error.Failed";
    /// There is no such parameter, or not for this caller.
    pub const PARAMETER: &str = "org.ovf.Agent1.Error.NoSuchParameter";
    /// The parameter has no value.
    pub const NOT_SET: &str = "org.ovf.Agent1.Error.NotSet";
    /// No pass of this process has read a document yet.
    pub const NOT_YET: &str = "org.ovf.Agent1.Error.NotYet";
}

/// What a message asks; nothing where it is no call.
pub fn asked(message: &Message) -> Option<Result<Asked, Refusal>> {
    if message.message_type() != Kind::MethodCall {
        return None;
    }
    let header = message.header();
    let interface = header.interface().map_or("", |name| name.as_str());
    let (path, member) = (header.path()?.as_str(), header.member()?.as_str());
    let node = match path {
        PATH => Some(Node::Object),
        "/org/ovf" => Some(Node::Step("Agent1")),
        "/org" => Some(Node::Step("ovf")),
        "/" => Some(Node::Step("org")),
        _ => None,
    };
    Some(match (node, interface, member) {
        (_, PEER | "", "Ping") => Ok(Asked::Ping),
        (_, PEER | "", "GetMachineId") => Ok(Asked::MachineId),
        (Some(node), INTROSPECTABLE | "", "Introspect") => Ok(Asked::Introspect(node)),
        (Some(Node::Object), _, _) => of_object(message, interface, member),
        (Some(Node::Step(_)), _, _) => Err(unknown_method(member)),
        (None, _, _) => Err(Refusal::new(error::OBJECT, format!("the only object here is {PATH}"))),
    })
}

fn of_object(message: &Message, interface: &str, member: &str) -> Result<Asked, Refusal> {
    match (interface, member) {
        (NAME | "", "GetParameter") => Ok(Asked::Parameter(one(message)?)),
        (NAME | "", "ListParameters") => Ok(Asked::Parameters),
        (NAME | "", "Reload") => Ok(Asked::Reload),
        (NAME | "", "HoldReady") => two(message).map(|(who, why)| Asked::Hold(who, why)),
        (PROPERTIES | "", "Get") => {
            let (of, name) = two(message)?;
            if has_properties(&of)? { Ok(Asked::Property(name)) } else { Err(unknown_property()) }
        }
        (PROPERTIES | "", "GetAll") => {
            Ok(if has_properties(&one(message)?)? { Asked::Properties } else { Asked::NoProperties })
        }
        (PROPERTIES | "", "Set") => Err(Refusal::new(error::READ_ONLY, "no property can be set")),
        _ => Err(unknown_method(member)),
    }
}

/// Of our interfaces one has properties; no other interface is here.
fn has_properties(interface: &str) -> Result<bool, Refusal> {
    match interface {
        NAME | "" => Ok(true),
        PROPERTIES | INTROSPECTABLE | PEER => Ok(false),
        _ => Err(Refusal::new(error::INTERFACE, format!("the properties here are those of {NAME}"))),
    }
}

/// There is no property of this name.
pub fn unknown_property() -> Refusal {
    Refusal::new(error::PROPERTY, "there is no such property")
}

fn unknown_method(member: &str) -> Refusal {
    Refusal::new(error::METHOD, format!("there is no method `{member}` with this interface"))
}

fn one(message: &Message) -> Result<String, Refusal> {
    strings(message)
        .map(|[one]| one)
        .ok_or_else(|| Refusal::new(error::ARGUMENTS, "the argument is not one string"))
}

fn two(message: &Message) -> Result<(String, String), Refusal> {
    let refused = || Refusal::new(error::ARGUMENTS, "the arguments are not two strings");
    strings(message).map(|[one, two]| (one, two)).ok_or_else(refused)
}

/// The strings that are all of a message's body (D-Bus specification, "Marshaling"). Read here: serde would make 4 KiB of it.
fn strings<const N: usize>(message: &Message) -> Option<[String; N]> {
    let data = message.data();
    let mut at = data.len().checked_sub(message.primary_header().body_len() as usize)?;
    let mut strings = [const { String::new() }; N];
    for string in &mut strings {
        let begin = at.next_multiple_of(4) + 4;
        let end = begin.checked_add(socket::number(data, begin - 4)?)?;
        *string = std::str::from_utf8(data.get(begin..end)?).ok()?.to_owned();
        at = end + 1;
    }
    (at == data.len()).then_some(strings)
}

/// Whether whoever called waits for an answer.
pub fn wants_answer(call: &Message) -> bool {
    !call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED)
}

/// The number of the call that the bus answers by a message, and whether it was done.
pub fn answers(message: &Message) -> Option<(NonZeroU32, bool)> {
    let serial = message.header().reply_serial().filter(|_| is_of_the_bus(message))?;
    Some((serial, message.message_type() == Kind::MethodReturn))
}

/// Nobody else has this name for a sender: the bus writes it over whatever a client says.
fn is_of_the_bus(message: &Message) -> bool {
    message.header().sender().is_some_and(|sender| sender.as_str() == "org.freedesktop.DBus")
}

/// The one number in the answer of the bus's own.
pub fn number(answer: &Message) -> Option<u32> {
    let at = answer.data().len().checked_sub(4).filter(|_| answer.primary_header().body_len() == 4)?;
    socket::number(answer.data(), at).map(|number| number as u32)
}

/// Whether the name is ours by now, where the bus tells of that.
pub fn name_is_ours(message: &Message) -> Option<bool> {
    let header = message.header();
    let is_ours = match (message.message_type(), header.member()?.as_str()) {
        (Kind::Signal, "NameAcquired") => true,
        (Kind::Signal, "NameLost") => false,
        _ => return None,
    };
    let is_told = is_of_the_bus(message) && strings(message).is_some_and(|[name]| name == NAME);
    is_told.then_some(is_ours)
}

/// What is said to a call.
pub fn answer(call: &Message, said: Result<Vec<Variant<'_>>, Refusal>) -> Option<Message> {
    let header = call.header();
    let (builder, values) = match said {
        Ok(values) => (Message::method_return(&header), values),
        Err(Refusal { name, text }) => (Message::error(&header, name), vec![Variant::from(text)]),
    };
    finished(builder, values)
}

/// A signal of our object's, to everybody who listens.
pub fn signal(interface: &'static str, member: &'static str, values: Vec<Variant<'_>>) -> Option<Message> {
    finished(Message::signal(PATH, interface, member), values)
}

/// The signal that properties have changed.
pub fn changed(properties: Vec<(&'static str, Variant<'_>)>) -> Option<Message> {
    let none = Array::new(&Signature::Str);
    signal(PROPERTIES, "PropertiesChanged", vec![NAME.into(), named(properties), Variant::Array(none)])
}

fn finished(builder: zbus::message::Builder<'_>, values: Vec<Variant<'_>>) -> Option<Message> {
    match body(values) {
        Some(body) => builder.build(&body).ok(),
        None => builder.build(&()).ok(),
    }
}

/// Values by name, of several types: `a{sv}`.
pub fn named<'a>(values: Vec<(&'static str, Variant<'a>)>) -> Variant<'a> {
    let mut named = Dict::new(&Signature::Str, &Signature::Variant);
    for (name, value) in values {
        // Each is of the type that was said.
        let _ = named.append(name.into(), wrapped(value));
    }
    Variant::Dict(named)
}

/// A value that says its own type: `v`.
pub fn wrapped(value: Variant<'_>) -> Variant<'_> {
    Variant::Variant(Box::new(value))
}

/// Texts: `as`.
pub fn texts(texts: &[String]) -> Variant<'static> {
    let mut list = Array::new(&Signature::Str);
    texts.iter().for_each(|text| _ = list.append(text.clone().into()));
    Variant::Array(list)
}

/// Rows of a name, a type, and two truths: `a(ssbb)`.
pub fn rows(rows: impl Iterator<Item = (String, String, bool, bool)>) -> Variant<'static> {
    let row = |(name, kind, a, b): (String, String, bool, bool)| {
        body(vec![name.into(), kind.into(), Variant::Bool(a), Variant::Bool(b)])
    };
    let fields = [Signature::Str, Signature::Str, Signature::Bool, Signature::Bool];
    let mut list = Array::new(&Signature::structure(fields));
    rows.filter_map(row).for_each(|row| _ = list.append(Variant::Structure(row)));
    Variant::Array(list)
}

/// A parameter's value, which reveals it; nothing where it is not set. What is sent cannot be wiped: the bus has it, too.
pub fn revealed(value: &Value) -> Option<Variant<'static>> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => text.to_string().into(),
        Value::Int(number) => Variant::I64(*number),
        Value::Uint(number) => Variant::U64(*number),
        Value::Real(number) => Variant::F64(*number),
        Value::Bool(truth) => Variant::Bool(*truth),
        Value::List(items) => {
            let mut list = Array::new(&Signature::Variant);
            items.iter().filter_map(revealed).for_each(|item| _ = list.append(wrapped(item)));
            Variant::Array(list)
        }
        Value::Map(map) => revealed_map(map.iter().map(|(name, value)| (name.reveal(), value))),
        Value::Entities(map) => revealed_map(map.iter().map(|(id, value)| (id.as_str(), value))),
    })
}

fn revealed_map<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Variant<'static> {
    let mut map = Dict::new(&Signature::Str, &Signature::Variant);
    for (name, value) in values {
        if let Some(value) = revealed(value) {
            let _ = map.append(name.to_owned().into(), wrapped(value));
        }
    }
    Variant::Dict(map)
}

/// What there is at a place.
pub fn introspection(node: Node) -> String {
    match node {
        Node::Object => INTROSPECTION.to_owned(),
        Node::Step(next) => format!("<node><node name=\"{next}\"/></node>\n"),
    }
}

#[cfg(test)]
mod tests;
