//! `get`: one value, of a parameter or a derived value.
//!
//! Decides what is meant by a word, a name or a property's key; that nothing sensitive is printed unless that is asked for;
//! and that a hook hears what it was told, and others nothing older than what is applied.

#![forbid(unsafe_code)]

use std::io::Write;

use zeroize::Zeroizing;

use super::{Common, print_json, written};
use crate::agent::{Exit, Fault, Machine, Result};
use crate::hooks::Heard;
use crate::secrets;
use crate::sys::{caller, process};

/// As text and as JSON.
type Value = (Zeroizing<String>, serde_json::Value);

impl Common {
    pub(super) fn get(&self, out: &mut impl Write, key: &str, show_sensitive: bool) -> Result<Exit> {
        let mut machine = Machine::new(self.root()?);
        let config = self.config(&machine.root)?;
        let declared = &config.parameters;
        let templates = config.templates().map_err(|problems| Fault::configuration(&problems))?;
        let derived = templates.derived_from(key);
        let parameter = if declared.contains(key) { Some(key) } else { declared.name_of_key(key) };
        let (kind, name) = match (&derived, parameter) {
            (Some(_), _) => ("derived value", key),
            (None, Some(name)) => ("parameter", name),
            (None, None) => {
                let known: Vec<_> = declared.names().chain(templates.derived_names()).collect();
                let message = format!(
                    "`{key}` is no declared parameter, nor the key of one, nor a derived value; there are {}",
                    known.join(", ")
                );
                return Err(Fault::usage(message));
            }
        };
        if (declared.is_sensitive(name) || templates.is_sensitive(name)) && !show_sensitive {
            let message = format!("{kind} `{name}` is sensitive; add --show-sensitive to print it");
            return Err(Fault::usage(message));
        }
        if let Some(moment) = process::hook().filter(|_| self.source.is_none() && machine.root.is_system()) {
            return self.put(out, heard(&moment, name)?);
        }
        let received = self.applied(&mut machine, &config, parameter)?;
        let (parameters, made) = machine.parameters(&config, received.as_ref())?;
        let needed = derived.iter().flatten().map(String::as_str).chain([name]);
        for name in needed {
            if declared.own_key(name).is_some_and(|key| made.contains(key)) {
                return Err(secrets::Error::NotYet(name.to_owned()).into());
            }
        }
        let value = if derived.is_some() {
            machine.derived(&config, received.as_ref(), &parameters, name)?
        } else {
            let value = parameters.get(name).expect("declared, so evaluated");
            (value.reveal(), value.reveal_json())
        };
        self.put(out, value)
    }

    fn put(&self, out: &mut impl Write, value: Value) -> Result<Exit> {
        let (text, json) = value;
        if self.json {
            return print_json(out, &json);
        }
        writeln!(out, "{}", text.as_str()).or_else(written)?;
        Ok(Exit::Done)
    }
}

/// What a hook of this moment was told of a value.
fn heard(moment: &str, name: &str) -> Result<Value> {
    let input = caller::standard_input(Heard::LIMIT).map_err(|error| Fault::outside(&error))?;
    let told = Heard::new(&input, moment).ok_or_else(|| {
        let message = "standard input is not what this hook was told; leave it as it is for `ovf-agent get`, which \
                       reads it as often as it is run, or name a document by --source";
        Fault::usage(message.to_owned())
    })?;
    if !told.knows_a_pass() {
        let message = "this hook was told no values: the agent has applied nothing since it was started";
        return Err(Fault::not_there(message.to_owned()));
    }
    told.value(name).ok_or_else(|| {
        let message =
            format!("this hook was told nothing of `{name}`: the configuration has changed since its pass");
        Fault::not_there(message)
    })
}
