//! The guests: sockets of one process, and when each of them spoke and was heard.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::Shape;

/// What a guest says, one after the other.
const STAGES: [&str; 4] = ["starting", "configuring", "waiting", "ready"];
const LISTENER: u64 = u64::MAX;

/// A connection of the host's.
#[derive(Debug)]
struct Line {
    stream: UnixStream,
    pending: Vec<u8>,
    /// Whose port it is; none of the one that says who is started.
    guest: Option<usize>,
    is_named: bool,
}

#[derive(Debug, Clone, Default)]
struct Guest {
    started: Option<Instant>,
    /// The connection that is its port.
    line: Option<u64>,
    /// Reports that it has made, and when the last of them was.
    said: usize,
    spoke: Option<Instant>,
    heard: Vec<u128>,
    /// When it has said that it is ready.
    ready: Option<Instant>,
}

/// Plays them until the host has gone, and prints in microseconds the median, the 99th percentile and the worst of two
/// delays: from a report to its acknowledgement, and from the last report that was waited for to the next start.
pub(crate) fn play(socket: &str, count: usize, shape: Shape) -> Result<(), Box<dyn Error>> {
    let listener = UnixListener::bind(socket)?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poller, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut guests = vec![Guest::default(); count + 1];
    let mut lines: BTreeMap<u64, Line> = BTreeMap::new();
    let mut next = 0;
    // Together all of the first order speak when the last of them is there.
    let mut is_open = shape == Shape::Chain;
    loop {
        let mut events = Vec::with_capacity(1024);
        epoll::wait(&poller, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                epoll::add(&poller, &stream, epoll::EventData::new_u64(next), epoll::EventFlags::IN)?;
                lines.insert(next, Line { stream, pending: Vec::new(), guest: None, is_named: false });
                next += 1;
                continue;
            }
            let Some(line) = lines.get_mut(&key) else { continue };
            let mut buffer = [0; 16 << 10];
            match line.stream.read(&mut buffer) {
                Ok(0) if line.guest.is_none() => return print(&guests, shape),
                Ok(0) => drop(lines.remove(&key)),
                Ok(length) => line.pending.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            while let Some(text) = lines.get_mut(&key).and_then(Line::next) {
                let line = &lines[&key];
                match line.guest {
                    Some(guest) => hear(&mut guests[guest], guest, &text, &line.stream, is_open)?,
                    None if line.is_named => {
                        let guest: usize = text.parse()?;
                        guests[guest].started = Some(Instant::now());
                    }
                    None => {
                        let line = lines.get_mut(&key).ok_or("no line")?;
                        line.is_named = true;
                        line.guest = text.parse().ok();
                        if let Some(guest) = line.guest {
                            guests[guest].line = Some(key);
                        }
                    }
                }
            }
            if !is_open && guests[1..count].iter().all(|it| it.line.is_some()) {
                is_open = true;
                for (number, guest) in guests.iter_mut().enumerate().take(count).skip(1) {
                    let line = guest.line.and_then(|it| lines.get(&it)).ok_or("it has gone")?;
                    say(guest, number, &line.stream)?;
                }
            }
        }
    }
}

impl Line {
    fn next(&mut self) -> Option<String> {
        let end = self.pending.iter().position(|&it| it == b'\n')?;
        let line: Vec<u8> = self.pending.drain(..=end).collect();
        Some(String::from_utf8_lossy(line.trim_ascii()).into_owned())
    }
}

/// A guest begins when it is asked, and goes on when it is acknowledged.
fn hear(
    guest: &mut Guest,
    number: usize,
    text: &str,
    stream: &UnixStream,
    is_open: bool,
) -> std::io::Result<()> {
    if text.contains("\"ack\"") {
        if let Some(spoke) = guest.spoke.filter(|_| text.contains(&format!("\"seq\":{}}}", guest.said))) {
            guest.heard.push(spoke.elapsed().as_micros());
            if guest.said < STAGES.len() {
                say(guest, number, stream)?;
            }
        }
    } else if text.contains("\"query\"") && guest.said == 0 && is_open {
        say(guest, number, stream)?;
    }
    Ok(())
}

fn say(guest: &mut Guest, number: usize, mut stream: &UnixStream) -> std::io::Result<()> {
    let stage = STAGES[guest.said];
    guest.said += 1;
    let unmet = if stage == "waiting" {
        r#"{"gate":"tcp 127.0.0.1:5432","code":"ConnectionRefused","reason":"Connection refused (os error 111)","since_ms":12}"#
    } else {
        ""
    };
    let report = format!(
        concat!(
            "\n{{\"type\":\"report\",\"protocol\":{{\"min\":1,\"max\":1}},\"boot\":\"b\",\"session\":\"s\",\"seq\":{},\"id\":\"guest{}\",",
            "\"stage\":\"{}\",\"ready\":{},\"generation\":1,\"environment\":null,\"source\":\"iso:/dev/sr0\",\"stale\":false,",
            "\"unmet\":[{}],\"deadline_ms\":null,\"failure\":null,\"changed\":[],\"warnings\":0,\"accepts\":[\"query\"],",
            "\"expect\":null,\"agent\":\"1\",\"hypervisor\":\"kvm\",\"uptime_ms\":1,\"took_us\":{{\"detect\":0,\"transport\":0,",
            "\"environment\":0,\"parameters\":0,\"template\":0,\"apply\":0,\"gates\":0}}}}\n"
        ),
        guest.said,
        number,
        stage,
        stage == "ready",
        unmet
    );
    stream.write_all(report.as_bytes())?;
    let now = Instant::now();
    guest.spoke = Some(now);
    if stage == "ready" {
        guest.ready = Some(now);
    }
    Ok(())
}

fn print(guests: &[Guest], shape: Shape) -> Result<(), Box<dyn Error>> {
    let guests = &guests[1..];
    if guests.iter().any(|it| it.ready.is_none()) {
        return Err("the host has gone before all were ready".into());
    }
    let heard = guests.iter().flat_map(|it| &it.heard).copied().collect();
    let starts = match shape {
        Shape::Chain => guests.windows(2).filter_map(|it| delay(&it[..1], &it[1])).collect(),
        Shape::Together => {
            guests.split_last().and_then(|(last, others)| delay(others, last)).into_iter().collect()
        }
    };
    for delays in [heard, starts] {
        let mut delays: Vec<u128> = delays;
        delays.sort_unstable();
        let at = |percent: usize| delays.get((delays.len().max(1) - 1) * percent / 100).copied().unwrap_or(0);
        println!("{} {} {}", at(50), at(99), at(100));
    }
    Ok(())
}

/// From the last of these that is ready to the start of another.
fn delay(waited_for: &[Guest], next: &Guest) -> Option<u128> {
    let last = waited_for.iter().filter_map(|it| it.ready).max()?;
    Some(next.started?.saturating_duration_since(last).as_micros())
}
