//! Real sockets: whoever listens does as it likes, and nobody waits for it.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::time::Duration;

use super::super::poll::wait_for;
use super::{Address, Far, Message, Place, SockType, UnixAddr};

fn name(what: &str) -> String {
    format!("ovf-agent-test-{}-{what}", std::process::id())
}

fn begin(address: &Address, text: &[u8]) -> Message {
    Message::begin(address, 0, text.to_vec()).expect("somebody listens")
}

#[test]
fn an_address_is_a_path_a_name_or_a_number_of_the_host() {
    for (text, kinds) in [
        ("/run/notify", 1),
        ("@name", 1),
        ("vsock:2:1234", 3),
        ("vsock-stream:2:1234", 1),
        ("vsock-seqpacket:4294967295:0", 1),
        ("vsock-dgram:2:1234", 1),
    ] {
        assert_eq!(text.parse::<Address>().map(|address| address.kinds()), Ok(kinds), "{text}");
    }
    let long = format!("/{}", "x".repeat(200));
    for text in
        ["", "run/notify", "vsock:2", "vsock:2:", "vsock::5", "vsock:2:x", "vsock-raw:2:3", "udp:1:2", &long]
    {
        text.parse::<Address>().expect_err(text);
    }
}

#[test]
fn a_datagram_is_taken_at_once_by_path_or_by_name() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("notify");
    let at = SocketAddr::from_abstract_name(name("datagram")).expect("a name");
    for (address, listener) in [
        (path.display().to_string(), UnixDatagram::bind(&path).expect("a socket")),
        (format!("@{}", name("datagram")), UnixDatagram::bind_addr(&at).expect("a socket")),
    ] {
        let address: Address = address.parse().expect("an address");
        assert_eq!(begin(&address, b"READY=1").go_on().expect("it is taken"), Far::Over);
        let mut buffer = [0; 64];
        let count = listener.recv(&mut buffer).expect("a message");
        assert_eq!(&buffer[..count], b"READY=1");
    }
}

#[test]
fn a_full_queue_is_an_event_and_no_wait() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("notify");
    let listener = UnixDatagram::bind(&path).expect("a socket");
    let address: Address = path.display().to_string().parse().expect("an address");
    let mut sent = 0;
    let mut waiting = loop {
        let mut message = begin(&address, b"STATUS=x");
        match message.go_on().expect("nobody is gone") {
            Far::Over => sent += 1,
            Far::OnTheWay => break message,
            Far::Said => panic!("a datagram has no end to wait for"),
        }
        assert!(sent < 100_000, "the queue is never full");
    };
    listener.recv(&mut [0; 64]).expect("a message");
    assert_eq!(waiting.go_on().expect("there is room now"), Far::Over);
    drop(listener);
    Message::begin(&address, 0, Vec::new()).expect_err("nobody listens there now");
}

/// Streams and sequences of packets are vsock's; unix sockets are the same to whoever writes to them.
fn connected(kind: &'static [SockType], path: &std::path::Path) -> Address {
    Address { place: Place::Unix(UnixAddr::new(path).expect("a path")), kinds: kind }
}

#[test]
fn one_who_never_accepts_or_never_closes_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let path = dir.path().join("stream");
    let listener = UnixListener::bind(&path).expect("a socket");
    let address = connected(&[SockType::Stream], &path);
    let mut message = begin(&address, b"STATUS=x\n");
    assert_eq!(message.go_on().expect("it is taken"), Far::Said, "nobody has accepted");
    let (mut heard, _) = listener.accept().expect("a connection");
    let mut text = String::new();
    heard.read_to_string(&mut text).expect("it ends, for it was half closed");
    assert_eq!(text, "STATUS=x\n");
    assert_eq!(message.go_on().expect("it is still open"), Far::Said);
    drop(heard);
    wait_for(&message, Some(Duration::from_secs(10))).expect("an event");
    assert_eq!(message.go_on().expect("it is closed"), Far::Over);

    // What nobody has taken yet can be said in another way, and what somebody has cannot be taken back.
    let mut early = begin(&address, b"old");
    assert!(early.instead(b"new"));
    early.go_on().expect("it is taken");
    assert!(!early.instead(b"newer"));
    let (mut heard, _) = listener.accept().expect("a connection");
    text.clear();
    heard.read_to_string(&mut text).expect("it is half closed");
    assert_eq!(text, "new");

    // More than the socket takes: the rest when there is room.
    let mut long = begin(&address, &vec![b'x'; 1 << 20]);
    assert_eq!(long.go_on().expect("a part is taken"), Far::OnTheWay);
    let (heard, _) = listener.accept().expect("a connection");
    drop(heard);
    long.go_on().expect_err("one who goes in the middle has not heard it");
}

#[test]
fn one_who_is_not_there_is_an_error_at_once() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let kinds: [&'static [SockType]; 3] =
        [&[SockType::Stream], &[SockType::SeqPacket], &[SockType::Datagram]];
    for kind in kinds {
        Message::begin(&connected(kind, &dir.path().join("none")), 0, b"x".to_vec()).expect_err("nobody");
    }
}
