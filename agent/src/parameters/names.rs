//! What hosts, mail boxes, resources, locales and time zones are called.
//!
//! Decides what such a name looks like, never whether anything has it: no resolver, database or directory is asked. Strict
//! where the standards are generous (quoted mail boxes, address literals, URLs without a host), because what comes
//! through is written into other programs' files, and a platform that needs the rest has `string` with a `pattern`.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name that fits into a DNS message (RFC 1035, 2.3.4), as text.
const MAX_NAME: usize = 253;

/// A host's name (RFC 952 as RFC 1123, 2.1, changes it): parts of letters, digits and inner hyphens between dots. The
/// last one has a letter, so that no address is a name.
pub(super) fn is_hostname(text: &str) -> bool {
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME && text.split('.').all(part) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host's name with at least one domain, without the root's dot.
pub(super) fn is_fqdn(text: &str) -> bool {
    is_hostname(text) && text.contains('.')
}

/// A mail box (RFC 5321, 4.1.2) as a Dot-string and a host's name, within the lengths of 4.5.3.1.
pub(super) fn is_email(text: &str) -> bool {
    let atom = |atom: &str| {
        let atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        !atom.is_empty() && atom.bytes().all(atext)
    };
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    text.len() <= 254 && local.len() <= 64 && local.split('.').all(atom) && is_hostname(domain)
}

/// An absolute URL (RFC 3986, 3) with a host; only `file:` may be without one.
pub(super) fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme
        && is_authority(authority, scheme.eq_ignore_ascii_case("file"))
        && consists_of(path, b"/:@")
        && consists_of(query, b"/:@?")
        && consists_of(fragment, b"/:@?")
}

/// `[userinfo@]host[:port]`; or nothing, where that may be.
fn is_authority(text: &str, may_be_empty: bool) -> bool {
    if text.is_empty() {
        return may_be_empty;
    }
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match host.rfind(':').filter(|colon| !host[*colon..].contains(']')) {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, ""),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_hostname(host.strip_suffix('.').unwrap_or(host)),
    };
    let is_port = port.is_empty() || port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_host && is_port && consists_of(user, b":")
}

/// Unreserved characters, delimiters, escapes (RFC 3986, 2) and these.
fn consists_of(text: &str, more: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|it| it.is_some_and(|b| b.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) || more.contains(&byte),
        };
        if !good {
            return false;
        }
    }
    true
}

/// `language[_script][_country][.codeset][@modifier]` as glibc writes it (locale(7)), or with hyphens as in RFC 5646, or
/// a country alone, which some platforms send.
pub(super) fn is_locale(text: &str) -> bool {
    let (text, modifier) = text.split_once('@').unwrap_or((text, "x"));
    let (text, codeset) = text.split_once('.').unwrap_or((text, "x"));
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let mut parts = text.split(['_', '-']);
    let language = parts.next().unwrap_or_default();
    let is_language =
        matches!(language.len(), 2 | 3) && letters(language) || matches!(language, "C" | "POSIX");
    let is_part = |part: &str| match part.len() {
        2 | 4 => letters(part),
        3 => part.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    let rest: Vec<_> = parts.collect();
    is_language && rest.len() <= 2 && rest.into_iter().all(is_part) && word(codeset) && word(modifier)
}

/// A name as the time zone database gives them (its file `theory.html`): up to three parts, each beginning with a letter.
pub(super) fn is_timezone(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    text.len() <= 64 && text.split('/').count() <= 3 && text.split('/').all(part)
}
