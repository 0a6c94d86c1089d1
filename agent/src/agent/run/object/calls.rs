//! Calls to our object: who may make them, and what is answered.
//!
//! Decides that sensitive and undeclared values, `Reload` and `HoldReady` are for root. The bus's policy says so of the methods,
//! too; the agent asks the bus who calls (`GetConnectionUnixUser`), and waits for that without waiting. One caller has few
//! such calls at a time, and all of them together not many.

#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::path::Path;

use zbus::message::Header;
use zbus::{Fd, Message, Variant};

use super::{OBJECT, Running, Shown};
use crate::agent::values::Known;
use crate::bus::object::{self, Asked, Node, Refusal, error};
use crate::protocol::{Answer, FromHost};

/// So many calls of one caller, and of all, wait for the bus to say whose they are. dbus-daemon has 256 connections for a user.
const MOST_OF_ONE: usize = 4;
const MOST: usize = 2048;

type Said = Result<Vec<Variant<'static>>, Refusal>;

impl Running {
    /// Somebody calls.
    pub(super) fn called(&mut self, call: Message, asked: Result<Asked, Refusal>) {
        match asked {
            Ok(asked) if self.is_for_root(&asked) => self.ask_who_calls(call, asked),
            Ok(asked) => {
                let said = self.said_to(asked);
                self.answer_call(&call, said);
            }
            Err(refusal) => self.answer_call(&call, Err(refusal)),
        }
    }

    /// Whether not everybody is answered.
    fn is_for_root(&self, asked: &Asked) -> bool {
        match asked {
            Asked::Reload | Asked::Hold(..) => true,
            Asked::Parameter(name) => self
                .object
                .values
                .as_ref()
                .is_some_and(|values| !matches!(values.get(name), Some(Known::Parameter(_, true)))),
            _ => false,
        }
    }

    fn ask_who_calls(&mut self, call: Message, asked: Asked) {
        let Some(sender) = sender(&call.header()).map(str::to_owned) else { return };
        let of_it =
            |(_, other, _): &&(NonZeroU32, Message, Asked)| self::sender(&other.header()) == Some(&sender);
        let asking = &self.object.asking;
        if asking.len() >= MOST || asking.iter().filter(of_it).count() >= MOST_OF_ONE {
            let text = "too many calls at a time; wait for an answer";
            return self.answer_call(&call, Err(Refusal::new(error::LIMITS, text)));
        }
        let Some(broker) = &mut self.object.broker else { return };
        if let Some(serial) = broker.call("GetConnectionUnixUser", vec![sender.into()]) {
            self.object.asking.push((serial, call, asked));
        }
    }

    /// The bus has said who calls; nothing where he has left.
    pub(super) fn known(&mut self, serial: NonZeroU32, user: Option<u32>) {
        let Some(place) = self.object.asking.iter().position(|(asked, ..)| *asked == serial) else { return };
        let (_, call, asked) = self.object.asking.swap_remove(place);
        let said = match (user, asked) {
            (None, _) => return,
            (Some(0), Asked::Reload) => return self.reload_for(call),
            (Some(0), Asked::Hold(who, why)) => self.hold(who, why),
            (Some(0), asked) => self.said_to(asked),
            (Some(_), asked) => Err(self.denied(&asked)),
        };
        self.answer_call(&call, said);
    }

    /// Why somebody else than root is not answered. Whether there is an undeclared property is not told.
    fn denied(&self, asked: &Asked) -> Refusal {
        match asked {
            Asked::Parameter(name) if self.known_parameter(name).is_none() => no_such_parameter(),
            Asked::Parameter(_) => {
                Refusal::new(error::DENIED, "this parameter is sensitive, so it is for root")
            }
            _ => Refusal::new(error::DENIED, "this is for root"),
        }
    }

    fn known_parameter(&self, name: &str) -> Option<Known<'_>> {
        let known = self.object.values.as_ref().and_then(|values| values.get(name));
        known.filter(|known| matches!(known, Known::Parameter(..)))
    }

    /// What is said to whoever may hear it.
    fn said_to(&self, asked: Asked) -> Said {
        let report = self.reporter.report();
        let hypervisor = || Variant::from(report.hypervisor.clone());
        let properties = || {
            let mut all = Shown::from(report).properties(None);
            all.push(("Hypervisor", hypervisor()));
            all
        };
        Ok(match asked {
            Asked::Ping => Vec::new(),
            Asked::MachineId => vec![self.machine_id()?.into()],
            Asked::Introspect(node) => vec![introspection(node)],
            Asked::Properties => vec![object::named(properties())],
            Asked::NoProperties => vec![object::named(Vec::new())],
            Asked::Property(wanted) => {
                let property = properties().into_iter().find(|(name, _)| *name == wanted);
                let (_, value) = property.ok_or_else(object::unknown_property)?;
                vec![object::wrapped(value)]
            }
            Asked::Parameter(name) => vec![object::wrapped(self.parameter(&name)?)],
            Asked::Parameters => {
                let values = self.object.values.as_ref().ok_or_else(not_yet)?;
                let row = |(row, is_set): (&crate::agent::values::Row, bool)| {
                    (row.name.clone(), row.kind.clone(), row.is_sensitive, is_set)
                };
                vec![object::rows(values.rows().map(row))]
            }
            Asked::Reload | Asked::Hold(..) => Vec::new(),
        })
    }

    fn parameter(&self, name: &str) -> Result<Variant<'static>, Refusal> {
        match self.object.values.as_ref().ok_or_else(not_yet)?.get(name) {
            Some(Known::Parameter(value, _)) => object::revealed(value)
                .ok_or_else(|| Refusal::new(error::NOT_SET, "the parameter is optional, and not set")),
            Some(Known::Undeclared(value)) => Ok(value.to_owned().into()),
            None => Err(no_such_parameter()),
        }
    }

    fn machine_id(&self) -> Result<String, Refusal> {
        let id = self.root.read(Path::new("/etc/machine-id"), 64).ok().flatten();
        let id = id.and_then(|bytes| String::from_utf8(bytes).ok());
        id.map(|id| id.trim().to_owned())
            .ok_or_else(|| Refusal::new(error::FAILED, "/etc/machine-id cannot be read"))
    }

    /// Everything is read again for this call, which is answered when that is done.
    fn reload_for(&mut self, call: Message) {
        self.object.reload += 1;
        let number = self.object.reload;
        self.object.reloads.push((number, call));
        self.heard(OBJECT, Ok(FromHost::Reload { id: number.to_string() }));
    }

    /// What was asked for is done, or not.
    pub(in crate::agent::run) fn answer_bus(&mut self, answer: &Answer) {
        let Ok(number) = answer.to.parse::<u64>() else { return };
        let Some(place) = self.object.reloads.iter().position(|(of, _)| *of == number) else { return };
        let (_, call) = self.object.reloads.swap_remove(place);
        let said = match &answer.error {
            None => Ok(Vec::new()),
            Some(failure) => {
                Err(Refusal::new(error::FAILED, format!("{}: {}", failure.code, failure.message)))
            }
        };
        self.answer_call(&call, said);
        self.write_bus();
    }

    fn answer_call(&mut self, call: &Message, said: Said) {
        if !object::wants_answer(call) {
            return;
        }
        if let (Some(broker), Some(answer)) = (&mut self.object.broker, object::answer(call, said)) {
            broker.send(answer);
        }
    }

    fn hold(&mut self, who: String, why: String) -> Said {
        let theirs = self.begin_hold(who, why)?;
        Ok(vec![Variant::Fd(Fd::from(theirs))])
    }
}

fn sender<'a>(header: &'a Header<'_>) -> Option<&'a str> {
    header.sender().map(|sender| sender.as_str())
}

fn introspection(node: Node) -> Variant<'static> {
    object::introspection(node).into()
}

fn not_yet() -> Refusal {
    let text = "no OVF environment has been applied since the agent was started; `ovf-agent get` reads the one that is here, \
                and where the host has sent a newer one, it has to send that again";
    Refusal::new(error::NOT_YET, text)
}

fn no_such_parameter() -> Refusal {
    Refusal::new(error::PARAMETER, "there is no such parameter; ListParameters has their names")
}
