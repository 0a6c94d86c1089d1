//! What a hook is told: as JSON on its standard input, and in variables of its environment.
//!
//! Decides the shape of both (docs/hooks.md has it for builders of appliances). Everybody on the machine may read a process's
//! environment who is its user, and programs pass it on to others; so no sensitive value is in it, nor what is made from
//! one. Names of variables are made of A-Z, 0-9 and `_` alone, for those of parameters are of a-z, 0-9 and `_`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::{Hook, Moment};
use crate::bus::Bus;
use crate::checks::{How, Kind, Order, Refusal};
use crate::parameters::{Declared, Parameters, Value};
use crate::sys::power::Action;
use crate::sys::program::Input;
use crate::sys::{self, Root};
use crate::template::DerivedValues;

/// The longest value that is put into a variable. A program cannot be started with more than 128 KiB in one (execve(2)).
const LONGEST: usize = 8 * 1024;

/// For all else, of which an environment's id may be long.
const ROOM: usize = 64 * 1024;

/// What hooks are told of a pass.
#[derive(Serialize)]
pub struct Told<'a> {
    /// The parameters; null where there was no pass, which is not the same as none.
    #[serde(serialize_with = "revealed")]
    pub parameters: Option<&'a Parameters>,
    /// What is made from them.
    #[serde(serialize_with = "derived")]
    pub derived: Option<&'a DerivedValues>,
    /// The environment.
    pub environment: Id<'a>,
    /// systemd's word for the hypervisor.
    pub hypervisor: &'a str,
    /// Whether this is the first boot of this instance.
    pub first_boot: bool,
    /// The appliance's version.
    pub version: Option<&'a str>,
    /// The one before, null in the first pass.
    pub previous_version: Option<&'a str>,
    /// Files that the pass writes or removes.
    pub changed: Vec<&'a Path>,
}

/// The environment, as far as hooks are told of it.
#[derive(Serialize)]
pub struct Id<'a> {
    /// Its id, empty where there is none.
    pub id: &'a str,
}

/// The same, ready to be handed to each hook of a pass. It holds secrets.
pub struct Call {
    /// The JSON object without its brace, and without what differs from hook to hook.
    rest: Zeroizing<Vec<u8>>,
    variables: Vec<(String, String)>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call(..)")
    }
}

impl Call {
    /// What `told` says; `declared` and the derived values know what is secret.
    pub fn new(told: &Told<'_>, declared: &Declared) -> Self {
        // Room for all of it: a buffer that grows leaves copies behind. What is derived is in more of them already.
        let derived = told.derived.into_iter().flat_map(DerivedValues::iter);
        let derived = derived.map(|(name, value)| name.len() + value.to_string().len());
        let parameters = told.parameters.into_iter().flat_map(Parameters::iter);
        let parameters = parameters.map(|(name, value)| name.len() + room(value));
        let changed = told.changed.iter().map(|path| path.as_os_str().len() + 3);
        let room = ROOM + 6 * derived.chain(parameters).chain(changed).sum::<usize>();
        let mut rest = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *rest, told).expect("plain data");
        let mut variables = Vec::new();
        let mut set = |name: &str, text: &str| {
            if text.len() <= LONGEST && !text.contains('\0') {
                variables.push((format!("OVF_{}", name.to_ascii_uppercase()), text.to_owned()));
            }
        };
        let own =
            |name: &str| ["hook", "appliance_version", "previous_version", "stop_action"].contains(&name);
        for (name, value) in told.parameters.into_iter().flat_map(Parameters::iter) {
            if *value != Value::Null && !declared.is_sensitive(name) && !own(name) {
                set(name, &value.reveal());
            }
        }
        for (name, value) in told.derived.into_iter().flat_map(DerivedValues::shown).filter(|it| !own(it.0)) {
            set(name, &value);
        }
        for (name, version) in
            [("appliance_version", told.version), ("previous_version", told.previous_version)]
        {
            version.into_iter().for_each(|version| set(name, version));
        }
        Self { rest, variables }
    }

    /// The same for the hooks of a guest that goes down.
    pub fn of_stop(&self, action: Action) -> Self {
        let head = format!("{{\"action\":\"{}\",", action.as_str());
        let mut rest = Zeroizing::new(Vec::with_capacity(head.len() + self.rest.len()));
        rest.extend_from_slice(head.as_bytes());
        rest.extend_from_slice(&self.rest[1..]);
        let mut variables = self.variables.clone();
        variables.push(("OVF_STOP_ACTION".to_owned(), action.as_str().to_owned()));
        Self { rest, variables }
    }

    /// Runs a hook, told of a pass of this generation.
    ///
    /// # Errors
    /// There is no such program any more, or no room for what it reads and writes; or it did not succeed in time.
    pub async fn run(
        &self,
        root: &Root,
        bus: &Bus,
        hook: &Hook,
        generation: u64,
        limit: Duration,
    ) -> Result<(), Box<Refusal>> {
        let (name, argv) = (hook.full_name(), [hook.path.to_string_lossy().into_owned()]);
        let order = Order::new(root, Kind::Hook, &name, &argv, None, limit)?;
        let json = self.json(hook.moment, generation);
        let input = Input::new(&json);
        let input = input.map_err(|error| {
            let error = sys::Error::new("make the input of", &name, error);
            Refusal::of(Kind::Hook, &name, &argv, How::NotRun, Some(error.into()))
        })?;
        order.told(self.variables(hook.moment), input).run(bus).await
    }

    /// All that a hook reads, in parts, so that there is no other copy of it.
    pub(super) fn json(&self, moment: Moment, generation: u64) -> [Cow<'_, [u8]>; 3] {
        let head = format!("{{\"hook\":\"{}\",\"generation\":{generation},", moment.as_str());
        // The rest's own brace is not needed any more.
        [Cow::Owned(head.into_bytes()), Cow::Borrowed(&self.rest[1..]), Cow::Borrowed(b"\n")]
    }

    pub(super) fn variables(&self, moment: Moment) -> Vec<(String, String)> {
        let mut variables = self.variables.clone();
        variables.push(("OVF_HOOK".to_owned(), moment.as_str().to_owned()));
        variables
    }
}

/// How many bytes a value has in JSON at most, but for escapes, of which a byte takes six.
fn room(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::List(items) => items.iter().map(room).sum::<usize>() + 3,
        Value::Map(map) => {
            map.iter().map(|(key, value)| key.reveal().len() + 4 + room(value)).sum::<usize>() + 3
        }
        Value::Entities(map) => map.iter().map(|(id, value)| id.len() + 4 + room(value)).sum::<usize>() + 3,
        Value::Null | Value::Int(_) | Value::Uint(_) | Value::Real(_) | Value::Bool(_) => 8,
    }
}

/// A value as its type has it, without a copy.
struct Revealed<'a>(&'a Value);

impl Serialize for Revealed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::String(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Uint(number) => serializer.serialize_u64(*number),
            Value::Real(number) => serializer.serialize_f64(*number),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::List(items) => serializer.collect_seq(items.iter().map(Revealed)),
            Value::Map(map) => {
                serializer.collect_map(map.iter().map(|(key, value)| (key.reveal(), Revealed(value))))
            }
            Value::Entities(map) => {
                serializer.collect_map(map.iter().map(|(id, value)| (id, Revealed(value))))
            }
        }
    }
}

fn revealed<S: Serializer>(parameters: &Option<&Parameters>, serializer: S) -> Result<S::Ok, S::Error> {
    match parameters {
        Some(parameters) => {
            serializer.collect_map(parameters.iter().map(|(name, value)| (name, Revealed(value))))
        }
        None => serializer.serialize_unit(),
    }
}

fn derived<S: Serializer>(derived: &Option<&DerivedValues>, serializer: S) -> Result<S::Ok, S::Error> {
    match derived {
        Some(derived) => serializer.collect_map(derived.iter()),
        None => serializer.serialize_unit(),
    }
}
