use super::systemd::object;
use super::{Bus, Runtime};
use crate::sys::clock::now;
use crate::sys::poll;
use crate::units::{self, Verb, Wanted, settle};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::Poll;
use std::time::Duration;
use zbus::runtime::traits::{Runtime as _, TaskHandle as _};

fn bus() -> Bus {
    Bus::with_socket(None).expect("an epoll set")
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_conversation_is_driven_to_its_end() {
    let bus = bus();
    let runtime = bus.runtime();
    let lent = String::from("what it works on may be lent");
    let nested = async {
        let task = runtime.spawn("", async { 7 });
        runtime.sleep(SHORT).await;
        task.await.expect("it ends") + lent.len()
    };
    assert_eq!(bus.wait(nested).expect("epoll"), 35);
    let mut begun = false;
    drop(bus.start(async { begun = true }));
    assert!(!begun, "nothing happens before a step");
}

#[test]
fn a_timer_that_lost_is_gone() {
    let bus = bus();
    let runtime = bus.runtime();
    let begun = now();
    let both = async {
        let in_time = runtime.within(LONG, async { 1 }).await;
        let late = runtime.within(SHORT, poll_fn(|_| Poll::<i32>::Pending)).await;
        (in_time, late)
    };
    assert_eq!(bus.wait(both).expect("epoll"), (Some(1), None));
    assert!((SHORT..LONG).contains(&(now() - begun)));
    assert_eq!(bus.next(), None, "nothing is left to wait for");
}

#[test]
fn a_descriptor_wakes_who_waits_for_it_and_nobody_else() {
    let bus = bus();
    let (mut here, mut there) = UnixStream::pair().expect("a pair");
    here.set_nonblocking(true).expect("flags");
    let fd = OwnedFd::from(here.try_clone().expect("a copy"));
    let runtime = bus.runtime();
    let read = async {
        let mut tries = 0;
        let operation = || {
            tries += 1;
            here.read(&mut [0; 8])
        };
        let count = runtime.when_readable(fd, operation).await.expect("it can be read");
        (count, tries)
    };
    let mut reading = bus.start(read);
    for _ in 0..3 {
        assert_eq!(bus.step(&mut reading).expect("epoll"), None);
    }
    assert_eq!(bus.next(), None);
    there.write_all(b"abc").expect("write");
    poll::wait_for(&bus, Some(LONG)).expect("epoll");
    assert_eq!(bus.step(&mut reading).expect("epoll"), Some((3, 2)), "once in vain, once not");
}

#[test]
fn what_is_dropped_ends() {
    struct Mark(UnixStream);
    // A program that another test starts may hold the descriptor until it is executed.
    let ended = |mut there: UnixStream| {
        there.set_read_timeout(Some(LONG)).expect("a limit");
        there.read(&mut [0]).is_ok_and(|count| count == 0)
    };
    let hang = |runtime: Runtime, mark: Mark| async move {
        runtime.sleep(LONG).await;
        drop(mark.0);
    };
    // A conversation that is given up, and a detached task that holds the runtime itself.
    let bus = bus();
    let (here, there) = UnixStream::pair().expect("a pair");
    let mut hanging = bus.start(hang(bus.runtime(), Mark(here)));
    assert!(bus.step(&mut hanging).expect("epoll").is_none());
    assert!(bus.next().is_some(), "it waits for its timer");
    drop(hanging);
    assert!(ended(there), "it is gone");
    assert_eq!(bus.next(), None);

    let (here, there) = UnixStream::pair().expect("a pair");
    bus.runtime().spawn("", hang(bus.runtime(), Mark(here))).detach();
    bus.wait(async { bus.runtime().sleep(SHORT).await }).expect("epoll");
    assert!(bus.next().is_some(), "the detached one waits for its timer");
    drop(bus);
    assert!(ended(there), "the bus is gone, and with it what it ran");
}

#[test]
fn a_systemd_that_is_not_there_or_goes_away_leaves_every_action_an_outcome() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("private");
    let action = |unit: &str, verb| (unit.to_owned(), verb);
    let actions = BTreeMap::from([action("a.service", Verb::Restart), action("b.service", Verb::Reload)]);
    for listens in [false, true] {
        let bus = Bus::with_socket(Some(&path)).expect("an epoll set");
        let systemd = bus.systemd().expect("a place for it");
        let listener = listens.then(|| UnixListener::bind(&path).expect("a socket"));
        let wanted = Wanted { reload: true, roles: Vec::new(), units: actions.clone() };
        let mut asking = bus.start(settle(systemd, wanted, LONG));
        let mut outcomes = bus.step(&mut asking).expect("epoll");
        // It hears us, and closes without a word.
        drop(listener.map(|listener| listener.accept().expect("a client")));
        while outcomes.is_none() {
            poll::wait_for(&bus, Some(LONG)).expect("epoll");
            outcomes = bus.step(&mut asking).expect("epoll");
        }
        let outcomes = outcomes.expect("it has ended");
        let results: Vec<_> = outcomes.iter().map(|outcome| (outcome.verb, outcome.result())).collect();
        let want = [("daemon-reload", "refused"), ("restart", "not-asked"), ("reload", "not-asked")];
        assert_eq!(results, want, "{outcomes:?}");
        assert!(outcomes[0].to_string().contains("cannot talk to systemd"), "{}", outcomes[0]);
        assert_eq!(units::owed(&outcomes), actions);
    }
}

#[test]
fn a_bus_that_is_dropped_hangs_up() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("private");
    let listener = UnixListener::bind(&path).expect("a socket");
    let bus = Bus::with_socket(Some(&path)).expect("an epoll set");
    let wanted = Wanted { reload: true, ..Wanted::default() };
    let mut asking = bus.start(settle(bus.systemd().expect("a place for it"), wanted, LONG));
    assert!(bus.step(&mut asking).expect("epoll").is_none());
    let (mut end, _) = listener.accept().expect("a client");
    end.write_all(b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n").expect("write");
    poll::wait_for(&bus, Some(LONG)).expect("epoll");
    assert!(bus.step(&mut asking).expect("epoll").is_none(), "nobody answers its call");
    drop(asking);
    drop(bus);
    end.set_read_timeout(Some(LONG)).expect("a limit");
    let mut heard = Vec::new();
    end.read_to_end(&mut heard).expect("it has hung up");
    assert!(heard.starts_with(b"\0AUTH EXTERNAL "), "{heard:?}");
    assert!(heard.windows(6).any(|window| window == b"Reload"), "it had got to its first call");
}

#[test]
fn a_units_object_has_no_character_that_paths_have_not() {
    for (unit, want) in [
        ("nginx.service", "nginx_2eservice"),
        ("ovf-agent-check-0a.service", "ovf_2dagent_2dcheck_2d0a_2eservice"),
        ("0.service", "_30_2eservice"),
        ("a@b.service", "a_40b_2eservice"),
    ] {
        assert_eq!(object(unit), format!("/org/freedesktop/systemd1/unit/{want}"), "{unit}");
    }
}
