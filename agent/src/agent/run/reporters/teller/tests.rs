//! Real listeners, a real loop's `epoll`, and times that are only said.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use super::{LIMIT, MOST, Moment, Poll, Teller};

const TOKEN: u64 = 5;
const NOW: Moment = Duration::from_secs(100);

fn teller(path: &std::path::Path) -> Teller {
    Teller::new("them", TOKEN, path.display().to_string().parse().expect("an address"))
}

fn heard(listener: &UnixDatagram) -> Vec<String> {
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count) = listener.recv(&mut buffer) {
        said.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
    }
    said
}

fn listener(path: &std::path::Path) -> UnixDatagram {
    let listener = UnixDatagram::bind(path).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    listener
}

#[test]
fn one_who_is_not_there_is_tried_for_a_while_and_then_told_the_newest() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("notify");
    let (poll, mut teller) = (Poll::new().expect("epoll"), teller(&path));
    teller.tell(b"1".to_vec(), true, NOW);
    let mut now = NOW;
    for pause in [1, 2, 4, 8, 16, 32] {
        teller.go_on(&poll, now);
        assert_eq!(teller.next(), Some(now + Duration::from_secs(pause)));
        now += Duration::from_secs(pause);
    }
    teller.go_on(&poll, now);
    assert!(teller.next().is_none() && teller.warned, "then it is left alone");
    let listener = listener(&path);
    teller.go_on(&poll, now);
    assert!(heard(&listener).is_empty(), "until there is news");
    teller.tell(b"2".to_vec(), true, now);
    teller.tell(b"3".to_vec(), true, now);
    teller.go_on(&poll, now);
    assert_eq!(heard(&listener), ["3"]);
    assert_eq!(teller.next(), None);
}

#[test]
fn one_who_does_not_read_costs_a_time_limit_and_bounded_memory() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("notify");
    let (poll, mut teller, listener) = (Poll::new().expect("epoll"), teller(&path), listener(&path));
    // Until its queue is full, and far beyond.
    let mut said = 0;
    while teller.under_way.is_none() {
        teller.tell(format!("READY={said}").into_bytes(), false, NOW);
        teller.go_on(&poll, NOW);
        said += 1;
    }
    for number in 0..1000 {
        teller.tell(format!("STATUS={number}").into_bytes(), false, NOW);
        teller.go_on(&poll, NOW);
    }
    teller.tell(b"STOPPING=1".to_vec(), false, NOW);
    assert_eq!((teller.messages.len(), teller.next()), (MOST, Some(NOW + LIMIT)));
    // As soon as there is room an event tells so.
    poll.wait(Some(Duration::ZERO)).expect("epoll");
    let mut told = heard(&listener);
    let ready = poll.wait(Some(Duration::from_secs(10))).expect("epoll");
    assert!(ready.iter().any(|ready| ready.token == TOKEN && ready.writable), "{ready:?}");
    while teller.next().is_some() {
        teller.go_on(&poll, NOW);
        told.extend(heard(&listener));
    }
    let ready = told.iter().filter(|message| message.starts_with("READY=")).count();
    assert_eq!(ready, said, "what was said first is not lost for a mere status");
    assert_eq!(
        told.iter().rev().take(2).map(String::as_str).collect::<Vec<_>>(),
        ["STOPPING=1", "STATUS=999"]
    );

    // One who never reads: given up, and tried again later.
    while teller.under_way.is_none() {
        teller.tell(b"STATUS=x".to_vec(), false, NOW);
        teller.go_on(&poll, NOW);
    }
    let first = teller.messages[0].clone();
    teller.go_on(&poll, NOW + LIMIT);
    assert!(teller.under_way.is_none() || teller.next() > Some(NOW + LIMIT));
    assert_eq!(teller.messages[0], first, "what was not said is kept");
}

#[test]
fn one_who_never_closes_is_hung_up_on_and_keeps_nobody_from_being_told_more() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("stream");
    let listener = UnixListener::bind(&path).expect("a socket");
    let poll = Poll::new().expect("epoll");
    let mut teller = teller(&path);
    teller.address = teller.address.as_stream();
    teller.tell(b"1".to_vec(), true, NOW);
    teller.go_on(&poll, NOW);
    assert!(teller.said.is_some() && teller.under_way.is_none(), "it was said, and has not been read");
    assert_eq!(teller.next(), Some(NOW + LIMIT));
    let open: Vec<_> = (2..6)
        .map(|number: u32| {
            teller.tell(number.to_string().into_bytes(), true, NOW);
            teller.go_on(&poll, NOW);
            let (stream, _) = listener.accept().expect("a connection of its own");
            std::io::read_to_string(&stream).expect("it is half closed")
        })
        .collect();
    assert_eq!(open, ["1", "2", "3", "4"]);
    teller.go_on(&poll, NOW + LIMIT);
    assert!(teller.said.is_none() && teller.next().is_none(), "in the end nothing is left open");
}
