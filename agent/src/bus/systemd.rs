//! systemd's manager object, as far as the agent needs it (org.freedesktop.systemd1(5)).
//!
//! Decides how each call is made and how its answer is read. Which unit deserves what is
//! decided in `units`. Every call has a time limit: PID 1 answers within milliseconds, but reads all unit files on a reload.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use zbus::{Message, OwnedObjectPath, OwnedVariant, Structure, Type, Variant};

use super::Error;
use super::line::{Changes, Line};
use super::runtime::Runtime;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The unit that has started when the guest is configured (systemd/system/).
const CONFIGURED: &str = "ovf-agent-configured.service";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// For an answer. A reload of a thousand units takes seconds where the processor is slow.
const ANSWER: Duration = Duration::from_secs(90);

/// systemd, connected to when it is first asked something. Clones share the connection.
#[derive(Clone)]
pub struct Systemd(Arc<Shared>);

struct Shared {
    runtime: Runtime,
    socket: PathBuf,
    line: Mutex<Option<Line>>,
}

/// A job that systemd has queued for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job(pub u32);

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitStatus {
    /// Its first name; one that was asked for may be an alias.
    pub id: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`, `maintenance`.
    pub active: String,
    /// The same in the words of its kind: `running`, `exited`, `auto-restart`.
    pub sub: String,
    /// What its job is to do, `start` or `stop` or `restart`; nothing where it has none.
    pub job: Option<String>,
}

impl Systemd {
    pub(super) fn at(socket: &Path, runtime: Runtime) -> Self {
        Self(Arc::new(Shared { runtime, socket: socket.to_owned(), line: Mutex::default() }))
    }

    /// What drives the conversation.
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// What systemd says of a unit; nothing if that is no name of a unit.
    ///
    /// # Errors
    /// systemd is not to be reached.
    pub async fn status(&self, unit: &str) -> Result<Option<UnitStatus>, Error> {
        type Row =
            (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
        let rows: Vec<Row> = self.ask("ListUnitsByNames", unit, Some(Structure::from((vec![unit],)))).await?;
        Ok(rows.into_iter().next().map(|row| {
            let (id, _, load, active, sub, _, _, job, job_kind, _) = row;
            UnitStatus { id, load, active, sub, job: (job != 0).then_some(job_kind) }
        }))
    }

    /// Queues a job for a unit: `call` is a method such as `TryRestartUnit`.
    ///
    /// # Errors
    /// systemd refuses, or is not to be reached.
    pub async fn queue(&self, call: &'static str, unit: &str) -> Result<Job, Error> {
        let job: OwnedObjectPath = self.ask(call, unit, Some(Structure::from((unit, "replace")))).await?;
        number(&job).map(Job)
    }

    /// How a job ended: `done`, `failed`, `timeout`, `canceled`, `dependency`, `skipped` and others.
    ///
    /// # Errors
    /// systemd is no longer to be reached.
    pub async fn end(&self, job: Job) -> Result<String, Error> {
        self.line().await?.end(job.0).await.ok_or_else(closed)
    }

    /// Whether a job cannot begin before `other` has ended, be it through others.
    ///
    /// # Errors
    /// systemd is not to be reached.
    pub async fn waits_for(&self, job: Job, other: Job) -> Result<bool, Error> {
        type Row = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);
        let (mut todo, mut seen) = (vec![job], vec![job]);
        while let Some(job) = todo.pop() {
            // One that has ended waits for nothing.
            let Ok(rows) = self
                .ask::<Vec<Row>>("GetJobBefore", &job.0.to_string(), Some(Structure::from((job.0,))))
                .await
            else {
                continue;
            };
            for (id, ..) in rows {
                let next = Job(id);
                if next == other {
                    return Ok(true);
                }
                if !seen.contains(&next) {
                    seen.push(next);
                    todo.push(next);
                }
            }
        }
        Ok(false)
    }

    /// The job of the unit that this process belongs to: until systemd takes a unit for started, everything that is
    /// ordered after it waits for that job. Once it is, that of [`CONFIGURED`], which waits for a pass that succeeds.
    ///
    /// # Errors
    /// systemd is not to be reached.
    pub async fn own_job(&self) -> Result<Option<Job>, Error> {
        let unit = self
            .ask::<OwnedObjectPath>(
                "GetUnitByPID",
                "of this process",
                Some(Structure::from((std::process::id(),))),
            )
            .await;
        match unit {
            Ok(unit) => {
                if let Some(job) = self.job(unit.as_str()).await? {
                    return Ok(Some(job));
                }
            }
            // A process that no unit started, such as one in a login shell of a container.
            Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.job(&object(CONFIGURED)).await {
            Err(Error::Refused { .. }) => Ok(None),
            job => job,
        }
    }

    /// The job of the unit at this object.
    async fn job(&self, unit: &str) -> Result<Option<Job>, Error> {
        let property = Some(Structure::from((UNIT, "Job")));
        let reply = self.call(unit, PROPERTIES, "Get", "Job", property).await?;
        let job: OwnedVariant = read(&reply)?;
        let (id, _) = <(u32, OwnedObjectPath)>::try_from(job).map_err(Error::Connection)?;
        Ok((id != 0).then_some(Job(id)))
    }

    /// Makes systemd read all unit files again; back when it has.
    ///
    /// # Errors
    /// systemd refuses, or is not to be reached.
    pub async fn reload(&self) -> Result<(), Error> {
        self.ask("Reload", "of the unit files", None).await
    }

    /// Masks a unit for good, as `systemctl mask` does. It says nothing of a reload, which is needed afterwards.
    ///
    /// # Errors
    /// systemd refuses, as it does for a unit whose file lies where the mask would; or it is not to be reached.
    pub async fn mask(&self, unit: &str) -> Result<(), Error> {
        type Rows = Vec<(String, String, String)>;
        self.ask::<Rows>("MaskUnitFiles", unit, Some(Structure::from((vec![unit], false, false))))
            .await
            .map(drop)
    }

    /// Takes a mask away, whether it was for good or for this boot. A reload is needed afterwards.
    ///
    /// # Errors
    /// systemd refuses, or is not to be reached.
    pub async fn unmask(&self, unit: &str) -> Result<(), Error> {
        type Rows = Vec<(String, String, String)>;
        for only_this_boot in [false, true] {
            self.ask::<Rows>("UnmaskUnitFiles", unit, Some(Structure::from((vec![unit], only_this_boot))))
                .await?;
        }
        Ok(())
    }

    /// Starts a unit that exists for this one run.
    ///
    /// # Errors
    /// systemd refuses, or is not to be reached.
    pub async fn start_transient(
        &self,
        unit: &str,
        properties: Vec<(&str, Variant<'_>)>,
    ) -> Result<Job, Error> {
        type Auxiliary<'a> = (&'a str, Vec<(&'a str, Variant<'a>)>);
        let body = Structure::from((unit, "fail", properties, Vec::<Auxiliary<'_>>::new()));
        let job: OwnedObjectPath = self.ask("StartTransientUnit", unit, Some(body)).await?;
        number(&job).map(Job)
    }

    /// Ends a unit's job and all of its processes.
    ///
    /// # Errors
    /// systemd refuses, or is not to be reached.
    pub async fn stop(&self, unit: &str) -> Result<(), Error> {
        self.queue("StopUnit", unit).await.map(drop)
    }

    /// Listens to what becomes of a unit's properties.
    ///
    /// # Errors
    /// systemd is not to be reached.
    pub async fn changes(&self, unit: &str) -> Result<Changes, Error> {
        let line = self.line().await?;
        Changes::of(&line.connection, object(unit)).await.map_err(Error::Connection)
    }

    /// Whether the machine goes down, and if so, for which of its targets: `poweroff.target` where it does not say. It does
    /// from the moment at which that was asked for: units are stopped for `shutdown.target`, which is waiting to be started.
    ///
    /// # Errors
    /// systemd is not to be reached.
    pub async fn goes_down(&self) -> Result<Option<&'static str>, Error> {
        const POWER_OFF: &str = "poweroff.target";
        if !self.is_coming("shutdown.target").await? {
            return Ok(None);
        }
        for target in ["reboot.target", "halt.target", "kexec.target", "soft-reboot.target"] {
            if self.is_coming(target).await? {
                return Ok(Some(target));
            }
        }
        Ok(Some(POWER_OFF))
    }

    async fn is_coming(&self, unit: &str) -> Result<bool, Error> {
        let status = self.status(unit).await?;
        Ok(status.is_some_and(|it| it.job.as_deref() == Some("start") || it.active.starts_with("activ")))
    }

    /// Has systemd take the machine down, as `systemctl` and logind do: units are stopped in their order, and nothing that
    /// is started meanwhile calls it off.
    ///
    /// # Errors
    /// systemd refuses, or is not to be reached.
    pub async fn go_down(&self, target: &str) -> Result<(), Error> {
        let body = Structure::from((target, "replace-irreversibly"));
        self.ask::<OwnedObjectPath>("StartUnit", target, Some(body)).await.map(drop)
    }

    // --- the conversation ---

    /// A call to the manager.
    async fn ask<T>(&self, call: &'static str, operand: &str, body: Option<Structure<'_>>) -> Result<T, Error>
    where
        T: DeserializeOwned + Type,
    {
        read(&Box::pin(self.call(PATH, MANAGER, call, operand, body)).await?)
    }

    /// Any call. Its body is a value of one type, for the state machine behind it has 10 KiB and would be there for each.
    async fn call(
        &self,
        path: &str,
        interface: &str,
        call: &'static str,
        operand: &str,
        body: Option<Structure<'_>>,
    ) -> Result<Message, Error> {
        let line = self.line().await?.connection;
        match body {
            Some(body) => {
                let reply = line.call_method(Some(NAME), path, Some(interface), call, &body);
                self.answer(call, operand, reply).await
            }
            None => {
                let reply = line.call_method(Some(NAME), path, Some(interface), call, &());
                self.answer(call, operand, reply).await
            }
        }
    }

    async fn answer(
        &self,
        call: &'static str,
        operand: &str,
        reply: impl Future<Output = zbus::Result<Message>>,
    ) -> Result<Message, Error> {
        match self.0.runtime.within(ANSWER, reply).await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(match refusal(&error) {
                Some((name, text)) => Error::Refused { call, operand: operand.to_owned(), name, text },
                None => Error::Connection(error),
            }),
            None => Err(Error::Late { call, operand: operand.to_owned() }),
        }
    }

    /// The connection, made if there is none, or if systemd has closed it, as it does when it executes itself anew.
    pub(super) async fn line(&self) -> Result<Line, Error> {
        let line = self.0.line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(line) = line.filter(|line| !line.connection.is_closed()) {
            return Ok(line);
        }
        let made = self.0.runtime.within(ANSWER, Line::connect(&self.0.socket, &self.0.runtime)).await;
        let line = made
            .ok_or(Error::Late { call: "a connection", operand: "of ours".to_owned() })?
            .map_err(Error::Connection)?;
        *self.0.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.clone());
        Ok(line)
    }
}

fn read<T: DeserializeOwned + Type>(reply: &Message) -> Result<T, Error> {
    reply.body().deserialize().map_err(Error::Connection)
}

fn closed() -> Error {
    Error::Connection(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into())
}

/// The name and text of an error that systemd itself answered.
fn refusal(error: &zbus::Error) -> Option<(String, String)> {
    match error {
        zbus::Error::MethodError(name, text, _) => Some((name.to_string(), text.clone().unwrap_or_default())),
        zbus::Error::FDO(error) => {
            use zbus::DBusError;
            let text = error.description().unwrap_or_default().to_owned();
            Some((error.name().to_string(), text))
        }
        _ => None,
    }
}

/// A job's number, which is the last part of its path.
fn number(job: &OwnedObjectPath) -> Result<u32, Error> {
    let digits = job.as_str().rsplit('/').next().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| Error::Connection(zbus::Error::InvalidReply))
}

/// A unit's object: what is neither letter nor digit in its name is `_` and two digits (sd_bus_path_encode(3)).
pub(super) fn object(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        match byte {
            b'0'..=b'9' if at == 0 => path.push_str(&format!("_{byte:02x}")),
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            _ => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}
