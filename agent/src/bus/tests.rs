use super::systemd::object;
use super::{Bus, Runtime};
use crate::sys::clock::now;
use crate::units::{self, Owed, UnitAction, Verb, settle};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::Poll;
use std::time::Duration;
use zbus::runtime::traits::Runtime as _;

fn bus() -> Bus {
    Bus::with_socket(None).expect("an epoll set")
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_conversation_is_driven_to_its_end_or_to_the_deadline() {
    let bus = bus();
    let runtime = bus.runtime();
    let nested = async move {
        let task = runtime.spawn("", async { 7 });
        runtime.sleep(SHORT).await;
        task.await.expect("it ends")
    };
    let work = bus.start(nested);
    assert!(work.take().is_none(), "nothing happens before a step");
    assert_eq!(bus.wait(&work, now() + LONG).expect("epoll"), Some(7));

    let never = bus.start(poll_fn(|_| Poll::<()>::Pending));
    let begun = now();
    assert_eq!(bus.wait(&never, begun + SHORT).expect("epoll"), None);
    assert!((SHORT..LONG).contains(&(now() - begun)));
}

#[test]
fn a_timer_that_lost_is_gone() {
    let bus = bus();
    let runtime = bus.runtime();
    let work = bus.start(async move {
        let in_time = runtime.within(LONG, async { 1 }).await;
        let late = runtime.within(SHORT, poll_fn(|_| Poll::<i32>::Pending)).await;
        (in_time, late)
    });
    assert_eq!(bus.wait(&work, now() + LONG).expect("epoll"), Some((Some(1), None)));
    assert_eq!(bus.next(), None, "nothing is left to wait for");
}

#[test]
fn a_descriptor_wakes_who_waits_for_it_and_nobody_else() {
    let bus = bus();
    let (mut here, mut there) = UnixStream::pair().expect("a pair");
    here.set_nonblocking(true).expect("flags");
    let fd = OwnedFd::from(here.try_clone().expect("a copy"));
    let runtime = bus.runtime();
    let read = async move {
        let mut tries = 0;
        let operation = || {
            tries += 1;
            here.read(&mut [0; 8])
        };
        let count = runtime.when_readable(fd, operation).await.expect("it can be read");
        (count, tries)
    };
    let work = bus.start(read);
    for _ in 0..3 {
        bus.step().expect("epoll");
    }
    assert!(work.take().is_none() && bus.next().is_none());
    there.write_all(b"abc").expect("write");
    assert_eq!(bus.wait(&work, now() + LONG).expect("epoll"), Some((3, 2)), "once in vain, once not");
}

#[test]
fn what_is_dropped_ends() {
    struct Mark(UnixStream);
    let ended = |mut there: UnixStream| {
        there.set_nonblocking(true).expect("flags");
        !matches!(there.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let hang = |runtime: Runtime, mark: Mark| async move {
        runtime.sleep(LONG).await;
        drop(mark.0);
    };
    // A conversation that is given up, and the bus with a detached task that holds the runtime itself.
    for drop_bus in [false, true] {
        let bus = bus();
        let (here, there) = UnixStream::pair().expect("a pair");
        let work = bus.start(hang(bus.runtime(), Mark(here)));
        bus.step().expect("epoll");
        assert!(bus.next().is_some(), "it waits for its timer");
        if drop_bus {
            drop(bus);
            assert!(ended(there), "the bus is gone, and with it what it ran");
            assert!(work.take().is_none());
        } else {
            drop(work);
            assert!(ended(there), "its conversation is gone");
            assert_eq!(bus.next(), None);
        }
    }
}

#[test]
fn a_systemd_that_is_not_there_or_goes_away_leaves_every_action_an_outcome() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("private");
    let action = |unit: &str, verb| UnitAction { unit: unit.to_owned(), verb };
    let actions = [action("a.service", Verb::Restart), action("b.service", Verb::Reload)];
    for listens in [false, true] {
        let bus = Bus::with_socket(Some(&path)).expect("an epoll set");
        let systemd = bus.systemd().expect("a place for it");
        let listener = listens.then(|| UnixListener::bind(&path).expect("a socket"));
        let owed = Owed { reload: true, roles: Vec::new(), actions: actions.to_vec() };
        let work = bus.start(settle(systemd, owed, LONG));
        bus.step().expect("epoll");
        // It hears us, and closes without a word.
        drop(listener.map(|listener| listener.accept().expect("a client")));
        let outcomes = bus.wait(&work, now() + LONG).expect("epoll").expect("it ends");
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
    let owed = Owed { reload: true, ..Owed::default() };
    let work = bus.start(settle(bus.systemd().expect("a place for it"), owed, LONG));
    bus.step().expect("epoll");
    let (mut end, _) = listener.accept().expect("a client");
    end.write_all(b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n").expect("write");
    assert!(bus.wait(&work, now() + SHORT).expect("epoll").is_none(), "nobody answers its call");
    drop(bus);
    end.set_read_timeout(Some(LONG)).expect("a limit");
    let mut heard = Vec::new();
    end.read_to_end(&mut heard).expect("it has hung up, though the conversation was kept");
    assert!(heard.starts_with(b"\0AUTH EXTERNAL "), "{heard:?}");
    assert!(heard.windows(6).any(|window| window == b"Reload"), "it had got to its first call");
    assert!(work.take().is_none());
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
