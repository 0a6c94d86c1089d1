//! What a guest may say, and what it may not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use ovf_agent::protocol::{FRAME_LIMIT, FromHost};

use super::{Heard, Port};

const REPORT: &str = r#"{"type":"report","protocol":{"min":1,"max":1},"boot":"b","session":"s","seq":7,"id":"DB1","stage":"ready","ready":true,"generation":3,"environment":null,"source":"iso:/dev/sr0","stale":false,"unmet":[],"deadline_ms":null,"failure":null,"changed":[],"warnings":0,"accepts":["query"],"expect":null,"agent":"0.1.0","hypervisor":"kvm","uptime_ms":1,"took_us":{"detect":0,"transport":0,"environment":0,"parameters":0,"template":0,"apply":0,"gates":0}}"#;

fn pair() -> (Port, UnixStream) {
    let (here, there) = UnixStream::pair().expect("a pair");
    (Port::new(here, "DB1").expect("a port"), there)
}

fn short(heard: &Heard) -> String {
    match heard {
        Heard::Report(report) => format!("report {} {}", report.id, report.seq),
        Heard::Answer(answer) => format!("answer {}", answer.to),
        Heard::Offence(message) => message.clone(),
    }
}

#[test]
fn messages_are_told_from_what_is_none() {
    let answer = r#"{"type":"answer","to":"42","ok":true}"#;
    let other = "it calls itself `DB2`; it was given another guest's environment";
    for (name, said, want) in [
        ("a report", format!("\n{REPORT}\n"), vec!["report DB1 7"]),
        ("an answer behind half a report", format!("{}\n{answer}\n", &REPORT[..90]), vec!["answer 42"]),
        ("no environment yet", format!("\n{}\n", REPORT.replace("DB1", "")), vec!["report  7"]),
        ("another guest", format!("\n{}\n", REPORT.replace("DB1", "DB2")), vec![other]),
        ("no JSON", "\nhello\n[1]\n\n".to_owned(), vec![]),
        ("a type of later", "\n{\"type\":\"song\"}\n{}\n".to_owned(), vec![]),
        (
            "a version of later",
            format!("\n{}\n", REPORT.replace("\"min\":1,\"max\":1", "\"min\":2,\"max\":3")),
            vec!["it speaks versions 2 to 3 of the protocol, and this ovf-host version 1"],
        ),
    ] {
        for piece in [1, 7, 4096] {
            let (mut port, mut there) = pair();
            let mut heard = Vec::new();
            for bytes in said.as_bytes().chunks(piece) {
                there.write_all(bytes).expect("written");
                heard.extend(port.read().expect("open"));
            }
            let got: Vec<_> = heard.iter().map(short).collect();
            assert_eq!(got, want, "{name}, in pieces of {piece}");
        }
    }
}

#[test]
fn words_that_the_protocol_does_not_have_are_an_offence() {
    for (from, to) in [
        ("\"ready\",", "\"dancing\","),
        ("\"seq\":7", "\"seq\":-7"),
        ("\"boot\":\"b\",", ""),
        ("\"stage\":\"ready\"", "\"stage\":\"waiting\""),
        ("\"ready\":true", "\"ready\":false"),
    ] {
        let (mut port, mut there) = pair();
        writeln!(there, "\n{}", REPORT.replacen(from, to, 1)).expect("written");
        let heard = port.read().expect("open");
        assert!(matches!(&heard[..], [Heard::Offence(_)]), "{to}: {heard:?}");
    }
}

#[test]
fn a_line_has_a_longest_and_the_next_one_is_heard() {
    let (mut port, mut there) = pair();
    let writer = std::thread::spawn(move || {
        for _ in 0..20 {
            there.write_all(&vec![b'x'; FRAME_LIMIT / 8]).expect("written");
        }
        write!(there, "\n\n{REPORT}\n").expect("written");
        there
    });
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.extend(port.read().expect("open"));
        assert!(port.pending.capacity() <= 4 * FRAME_LIMIT);
    }
    drop(writer.join());
    let got: Vec<_> = heard.iter().map(short).collect();
    assert_eq!(got, ["it says a line of more than 1048576 bytes", "report DB1 7"]);
}

#[test]
fn the_newest_report_is_acknowledged_and_a_guest_that_only_speaks_costs_nothing() {
    let (mut port, mut there) = pair();
    for seq in 0..1000 {
        writeln!(there, "\n{}", REPORT.replace("\"seq\":7", &format!("\"seq\":{seq}"))).expect("written");
        port.read().expect("open");
    }
    port.say(&FromHost::Query { id: "q".to_owned() });
    port.write().expect("room");
    assert!(!port.has_more());
    let mut said = vec![0; 4096];
    let count = there.read(&mut said).expect("something");
    let want = "\n{\"type\":\"query\",\"id\":\"q\"}\n\n{\"type\":\"ack\",\"boot\":\"b\",\"session\":\"s\",\"seq\":999}\n";
    assert_eq!(std::str::from_utf8(&said[..count]), Ok(want));
}
