//! A guest at its port: whoever stands at the other end of it is the agent.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It is ready, and applies what it is sent.
    Ready,
    /// It waits for a gate for ever.
    Waits,
    /// It has failed, and will not try again.
    Failed,
    /// It is ready, and answers no document.
    Mute,
    /// It says more reports than anybody listens to.
    Babbles,
    /// It is ready, and waits, in one report.
    Contradicts,
}

/// A guest that is there, and goes on until its deployment goes.
#[derive(Debug)]
pub(crate) struct Port {
    documents: Receiver<String>,
    behaviours: Sender<Behaviour>,
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Port {
    /// The guest of this id, at its socket.
    pub(crate) fn new(socket: &Path, id: &str, behaviour: Behaviour) -> Self {
        let listener = UnixListener::bind(socket).expect("a deployment");
        let (heard, documents) = channel();
        let (behaviours, changes) = channel();
        let mut guest = Guest { id: id.to_owned(), behaviour, changes, heard, seq: 0, generation: 1 };
        thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(|it| guest.talk(&it)));
        Self { documents, behaviours }
    }

    /// It behaves so from the next line on that it hears.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        self.behaviours.send(behaviour).expect("it is there");
    }

    /// The next document that it is sent.
    pub(crate) fn document(&self) -> String {
        self.documents.recv_timeout(PATIENCE).expect("a document")
    }
}

struct Guest {
    id: String,
    behaviour: Behaviour,
    changes: Receiver<Behaviour>,
    heard: Sender<String>,
    seq: u64,
    generation: u64,
}

impl Guest {
    fn talk(&mut self, mut stream: &UnixStream) {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            self.behaviour = self.changes.try_iter().last().unwrap_or(self.behaviour);
            let mut said = Vec::new();
            match message["type"].as_str() {
                Some("query") if self.behaviour == Behaviour::Babbles => {
                    said.extend((0..10_001).map(|_| self.report()));
                }
                Some("query") => said.push(self.report()),
                Some("environment") => {
                    if self.behaviour != Behaviour::Mute {
                        self.generation += 1;
                        said.push(self.report());
                        said.push(
                            json!({ "type": "answer", "to": message["id"], "ok": true, "error": null }),
                        );
                    }
                    let _ = self.heard.send(message["document"].as_str().unwrap_or_default().to_owned());
                }
                _ => {}
            }
            let text: String = said.iter().map(|it| format!("\n{it}\n")).collect();
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn report(&mut self) -> Value {
        self.seq += 1;
        let (stage, unmet, failure) = match self.behaviour {
            Behaviour::Ready | Behaviour::Mute => ("ready", json!([]), Value::Null),
            Behaviour::Waits | Behaviour::Babbles | Behaviour::Contradicts => {
                let unmet = json!([{ "gate": "file /run/never", "code": "Missing", "reason": "is not there", "since_ms": 1 }]);
                ("waiting", unmet, Value::Null)
            }
            Behaviour::Failed => {
                let failure = json!({ "stage": "parameters", "code": "ParametersInvalid", "message": "`ip` is none", "final": true });
                ("failed", json!([]), failure)
            }
        };
        json!({
            "type": "report", "protocol": { "min": 1, "max": 1 }, "boot": "b", "session": "s", "seq": self.seq, "id": self.id,
            "stage": stage, "ready": stage == "ready" || self.behaviour == Behaviour::Contradicts, "generation": self.generation, "environment": null, "source": "iso:/dev/sr0",
            "stale": false, "unmet": unmet, "deadline_ms": null, "failure": failure, "changed": [], "warnings": 0,
            "accepts": ["query", "environment"], "expect": null, "agent": "1", "hypervisor": "qemu", "uptime_ms": 1,
            "took_us": { "detect": 0, "transport": 0, "environment": 0, "parameters": 0, "template": 0, "apply": 0, "gates": 0 },
        })
    }
}
