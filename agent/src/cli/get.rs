//! `get`: one value, of a parameter or a derived value.
//!
//! Decides what is meant by a word, a name or a property's key; and that nothing sensitive is printed unless that is asked for.

#![forbid(unsafe_code)]

use std::io::Write;

use super::{Common, print_json, written};
use crate::agent::{Exit, Fault, Machine, Result};
use crate::secrets;

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
        let received = self.received(&mut machine, &config)?;
        let (parameters, made) = machine.parameters(&config, received.as_ref())?;
        let needed = derived.iter().flatten().map(String::as_str).chain([name]);
        for name in needed {
            if declared.own_key(name).is_some_and(|key| made.contains(key)) {
                return Err(secrets::Error::NotYet(name.to_owned()).into());
            }
        }
        let (text, json) = if derived.is_some() {
            machine.derived(&config, received.as_ref(), &parameters, name)?
        } else {
            let value = parameters.get(name).expect("declared, so evaluated");
            (value.reveal(), value.reveal_json())
        };
        if self.json {
            return print_json(out, &json);
        }
        writeln!(out, "{}", text.as_str()).or_else(written)?;
        Ok(Exit::Done)
    }
}
