//! One question by HTTP, and as much of the answer as it takes to judge it (RFC 9112).
//!
//! Decides what a URL of a gate is, and which answers are good: a status of 200 to 399. A redirection is one, for whoever sends it
//! is up; it is not followed. Interim answers (1xx) are read past, as whoever asks has to (RFC 9110, 15.2), but for 101, after which
//! something else is spoken. Of the answer no more is read than it takes to see the status; the connection is closed then, whatever
//! else the server has to say.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use super::Obstacle;

/// A plain URL with a literal address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    address: SocketAddr,
    /// Where the path begins in the text.
    path: usize,
}

/// The longest URL; a request is one packet.
const LONGEST: usize = 1024;

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest =
            text.strip_prefix("http://").ok_or("it must begin with `http://`; TLS is for a command")?;
        if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err("it must be at most 1024 printable characters of ASCII, without blanks and `#`");
        }
        let authority = rest.find(['/', '?']).unwrap_or(rest.len());
        let host = &rest[..authority];
        let port = |port: &str| port.parse().ok().filter(|port| *port != 0);
        // "[::1]:80" and "127.0.0.1:80"; without a port it is 80.
        let address = match host.strip_prefix('[').map(|host| host.split_once(']')) {
            Some(None) => None,
            Some(Some((ip, ""))) => ip.parse().ok().map(|ip| (IpAddr::V6(ip), 80)),
            Some(Some((ip, rest))) => {
                let port = rest.strip_prefix(':').and_then(port);
                ip.parse().ok().map(IpAddr::V6).zip(port)
            }
            None => match host.split_once(':') {
                Some((ip, rest)) => ip.parse().ok().map(IpAddr::V4).zip(port(rest)),
                None => host.parse().ok().map(|ip| (IpAddr::V4(ip), 80)),
            },
        };
        let address = address.ok_or("its host must be an address as a number, and its port 1 to 65535")?;
        let path = text.len() - rest.len() + authority;
        Ok(Self { text: text.to_owned(), address: address.into(), path })
    }

    /// Whom to ask.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn request(&self) -> Vec<u8> {
        let (before, path) = self.text.split_at(self.path);
        let host = before.trim_start_matches("http://");
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!(
            "GET {slash}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ovf-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
        .into_bytes()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `HTTP/1.1 200 `
const HEAD: usize = 13;
/// So much of an answer is read at a time.
const CHUNK: usize = 512;
/// Interim answers that are longer all together are no answer.
const INTERIM: usize = 4096;

/// A question that was or is being asked.
#[derive(Debug)]
pub struct Exchange<S> {
    stream: S,
    request: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
}

impl<S: Read + Write> Exchange<S> {
    /// To be asked by a connection that does not block.
    pub fn new(stream: S, url: &Url) -> Self {
        Self { stream, request: url.request(), sent: 0, received: Vec::new() }
    }

    /// The connection.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Goes on as far as that can be now; what came of it, once something has.
    pub fn step(&mut self) -> Option<Result<(), Obstacle>> {
        match self.advance() {
            Ok(outcome) => Some(outcome),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(Obstacle::connection(&error))),
        }
    }

    fn advance(&mut self) -> io::Result<Result<(), Obstacle>> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut chunk = [0; CHUNK];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(Err(unfinished(&self.received))),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(outcome) = judge(&self.received) {
                return Ok(outcome);
            }
            if self.received.len() > INTERIM {
                return Ok(Err(unfinished(&self.received)));
            }
        }
    }
}

/// What an answer comes to, as far as it has come; nothing if that is not far enough.
fn judge(mut answer: &[u8]) -> Option<Result<(), Obstacle>> {
    loop {
        return Some(match status(answer.get(..HEAD)?) {
            Some(200..=399) => Ok(()),
            Some(100 | 102..=199) => {
                let end = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
                answer = &answer[end + 4..];
                continue;
            }
            Some(status) => Err(Obstacle::http_status(status)),
            None => Err(Obstacle::NO_HTTP),
        });
    }
}

/// The status that an answer begins with: three digits, and nothing that would make a longer word of them.
fn status(head: &[u8]) -> Option<u16> {
    match *head {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', a, b, c, b' ' | b'\r' | b'\n'] => {
            let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
            Some(digit(a)? * 100 + digit(b)? * 10 + digit(c)?).filter(|status| *status >= 100)
        }
        _ => None,
    }
}

/// What is said of an answer that ends, or has no end, before there is a status to judge.
fn unfinished(answer: &[u8]) -> Obstacle {
    match answer.get(..HEAD).and_then(status) {
        Some(_) => Obstacle::NO_FINAL,
        None => Obstacle::NO_HTTP,
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Exchange, INTERIM, Url};
    use crate::ready::Obstacle;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_url_is_plain_and_has_a_literal_address() {
        for (text, want) in [
            ("http://127.0.0.1", Some(("127.0.0.1:80", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"))),
            (
                "http://127.0.0.1:8080/health?deep=1",
                Some(("127.0.0.1:8080", "GET /health?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")),
            ),
            ("http://[::1]?a", Some(("[::1]:80", "GET /?a HTTP/1.1\r\nHost: [::1]\r\n"))),
            ("http://[::1]:81/", Some(("[::1]:81", "GET / HTTP/1.1\r\nHost: [::1]:81\r\n"))),
            ("https://127.0.0.1", None),
            ("http://localhost", None),
            ("http://127.0.0.1:0/", None),
            ("http://127.0.0.1:65536/", None),
            ("http://127.0.0.1:/", None),
            ("http://[::1", None),
            ("http://[::1]81", None),
            ("http://[127.0.0.1]/", None),
            ("http://::1/", None),
            ("http://user@127.0.0.1/", None),
            ("http://127.0.0.1/a b", None),
            ("http://127.0.0.1/a\r\nX: y", None),
            ("http://127.0.0.1/#a", None),
            ("http://", None),
        ] {
            let url = Url::parse(text).ok();
            assert_eq!(url.is_some(), want.is_some(), "{text}");
            if let (Some(url), Some((address, request))) = (url, want) {
                assert_eq!(url.address().to_string(), address);
                let said = String::from_utf8(url.request()).expect("ASCII");
                assert!(said.starts_with(request) && said.ends_with("\r\n\r\n"), "{said}");
            }
        }
    }

    #[test]
    fn the_status_alone_is_judged_however_it_comes() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\nmore than anybody reads", None),
            ("HTTP/1.0 204\r\n\r\n", None),
            ("HTTP/1.0 204\n", None),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", None),
            ("HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 204 ", None),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n", Some("HttpStatus")),
            ("HTTP/1.1 100 Continue\r\n\r\nSSH-2.0-OpenSSH_9.2\r\n", Some("HttpInvalid")),
            ("HTTP/1.1 100 Continue\r\n\r\n", Some("HttpInvalid")),
            ("HTTP/1.1 103 Early\r\n", Some("HttpInvalid")),
            ("HTTP/1.1 101 Switching\r\n", Some("HttpStatus")),
            ("HTTP/1.1 2222222", Some("HttpInvalid")),
            ("HTTP/1.1 2000 OK\r\n", Some("HttpInvalid")),
            ("HTTP/1.1 099 OK\r\n", Some("HttpInvalid")),
            ("HTTP/1.1 200", Some("HttpInvalid")),
            ("HTTP/1.1 302 Found\r\n", None),
            ("HTTP/1.1 503 No\r\n", Some("HttpStatus")),
            ("HTTP/1.1 404\r\n", Some("HttpStatus")),
            ("HTTP/2.0 200 OK\r\n", Some("HttpInvalid")),
            ("HTTP/1.1 2", Some("HttpInvalid")),
            ("HTTP/1.1 +20", Some("HttpInvalid")),
            ("SSH-2.0-OpenSSH_9.2\r\n", Some("HttpInvalid")),
            ("", Some("HttpInvalid")),
        ] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            ours.set_nonblocking(true).expect("set");
            let url = Url::parse("http://127.0.0.1/health").expect("a URL");
            let mut exchange = Exchange::new(ours, &url);
            assert_eq!(exchange.step(), None, "nothing is answered yet");
            let mut asked = [0; 512];
            let count = theirs.read(&mut asked).expect("the question");
            assert!(asked[..count].starts_with(b"GET /health HTTP/1.1\r\n"));
            let (first, rest) = answer.split_at(answer.len().min(5));
            theirs.write_all(first.as_bytes()).expect("written");
            assert_eq!(exchange.step(), None, "{answer}");
            theirs.write_all(rest.as_bytes()).expect("written");
            drop(theirs);
            let outcome = exchange.step().expect("all is said");
            assert_eq!(outcome.err().map(|obstacle| obstacle.code), want, "{answer}");
        }
    }

    #[test]
    fn interim_answers_without_end_are_not_listened_to_forever() {
        let continued = "HTTP/1.1 100 Continue\r\n\r\n";
        let long = format!("HTTP/1.1 103 Early\r\nLink: {}", "a".repeat(INTERIM));
        for answer in [continued.repeat(200), long] {
            let (ours, mut theirs) = UnixStream::pair().expect("a pair");
            ours.set_nonblocking(true).expect("set");
            let url = Url::parse("http://127.0.0.1/").expect("a URL");
            let mut exchange = Exchange::new(ours, &url);
            theirs.write_all(answer.as_bytes()).expect("written");
            let outcome = exchange.step().expect("it is enough");
            assert_eq!(outcome, Err(Obstacle::NO_FINAL));
            assert!(exchange.received.len() <= INTERIM + CHUNK);
        }
    }
}
