//! `sha512_crypt`: a password as `/etc/shadow` has it, `$6$SALT$HASH`.
//!
//! Decides the limits. The salt is an argument: a random one would differ from pass to pass, and a pass that changes
//! nothing must write nothing. Nor is it made from the password: whoever reads a salt that was could try passwords
//! against it without the rounds. The algorithm is Ulrich Drepper's (Unix crypt using SHA-256 and SHA-512, 0.6, public
//! domain). No crate for it: over `sha2`, which
//! is here anyway, it is one page.

#![forbid(unsafe_code)]

use sha2::{Digest, Sha512};
use tera::{Kwargs, State, TeraResult, Value};
use zeroize::Zeroizing;

use super::{argument, text_argument};
use crate::template::meter;
use crate::template::refusal::Refusal;
use crate::template::unit::plain_text;

/// Digits of crypt's own base 64.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const USUAL_ROUNDS: i64 = 5000;
/// What the algorithm asks for at least, and what a boot can wait for: about a second.
const ROUNDS: std::ops::RangeInclusive<i64> = 1000..=1_000_000;
/// The rounds that take the time of a step, or somewhat more of it.
const ROUNDS_A_STEP: usize = 2;
/// The time grows with the square of a password's length.
const LONGEST: usize = 1024;

/// `password | sha512_crypt(salt=text, rounds=5000)`
pub(super) fn filter(value: Value, arguments: Kwargs, _: &State<'_>) -> TeraResult<Value> {
    let password = plain_text(&value)?;
    let salt = text_argument(&arguments, "salt")?;
    let rounds = argument(&arguments, "rounds", Value::as_i64)?;
    if !(8..=16).contains(&salt.len()) || !salt.bytes().all(|b| DIGITS.contains(&b)) {
        return Err(Refusal::NO_SALT.into());
    }
    if password.len() > LONGEST || password.contains('\0') {
        return Err(Refusal::NO_PASSWORD.into());
    }
    let counted = rounds.unwrap_or(USUAL_ROUNDS);
    if !ROUNDS.contains(&counted) {
        return Err(Refusal::NO_ROUNDS.into());
    }
    meter::spend(counted as usize / ROUNDS_A_STEP)?;
    let hash = crypt(password.as_bytes(), salt.as_bytes(), counted as u32);
    let named = rounds.map_or(String::new(), |rounds| format!("rounds={rounds}$"));
    Ok(Value::from(format!("$6${named}{salt}${hash}")))
}

/// The hash alone. The steps are numbered as in the specification.
fn crypt(password: &[u8], salt: &[u8], rounds: u32) -> String {
    // 4 to 8
    let b = Sha512::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    // 1 to 3, 9 to 12
    let mut digest = Sha512::new().chain_update(password).chain_update(salt);
    repeat(&b, password.len(), |part| digest.update(part));
    let mut length = password.len();
    while length > 0 {
        digest.update(if length & 1 == 1 { &b[..] } else { password });
        length >>= 1;
    }
    let mut a = digest.finalize();
    // 13 to 16
    let mut digest = Sha512::new();
    (0..password.len()).for_each(|_| digest.update(password));
    let p = stretched(&digest.finalize(), password.len());
    // 17 to 20
    let mut digest = Sha512::new();
    (0..16 + u32::from(a[0])).for_each(|_| digest.update(salt));
    let s = stretched(&digest.finalize(), salt.len());
    // 21
    for round in 0..rounds {
        let mut digest = Sha512::new();
        digest.update(if round % 2 == 1 { &p[..] } else { &a[..] });
        if round % 3 != 0 {
            digest.update(&s);
        }
        if round % 7 != 0 {
            digest.update(&p);
        }
        digest.update(if round % 2 == 1 { &a[..] } else { &p[..] });
        a = digest.finalize();
    }
    // 22: three bytes at a time, 21 apart, the first of them another one each time; then the last byte.
    let mut text = String::with_capacity(86);
    for group in 0..21 {
        let [x, y, z] = [0, 21, 42].map(|offset| u32::from(a[group + offset]));
        let (high, middle, low) = match group % 3 {
            0 => (x, y, z),
            1 => (y, z, x),
            _ => (z, x, y),
        };
        digits(&mut text, high << 16 | middle << 8 | low, 4);
    }
    digits(&mut text, u32::from(a[63]), 2);
    text
}

/// `block`, over and over, up to a length.
fn repeat(block: &[u8], length: usize, mut take: impl FnMut(&[u8])) {
    let mut left = length;
    while left > 0 {
        let len = left.min(block.len());
        take(&block[..len]);
        left -= len;
    }
}

fn stretched(block: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    repeat(block, length, |part| bytes.extend_from_slice(part));
    bytes
}

/// The lowest six bits first.
fn digits(text: &mut String, mut bits: u32, count: usize) {
    for _ in 0..count {
        text.push(char::from(DIGITS[(bits & 63) as usize]));
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::crypt;

    /// The specification's own vectors; the salts are as it cuts them.
    #[test]
    fn it_is_what_crypt_says() {
        for (password, salt, rounds, want) in [
            (
                "Hello world!",
                "saltstring",
                5000,
                "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                "Hello world!",
                "saltstringsaltst",
                10000,
                "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
            (
                "This is just a test",
                "toolongsaltstrin",
                5000,
                "lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0",
            ),
            (
                "a very much longer text to encrypt.  This one even stretches over morethan one line.",
                "anotherlongsalts",
                1400,
                "POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
            ),
            (
                "we have a short salt string but not a short password",
                "short",
                77777,
                "WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0",
            ),
            (
                "a short string",
                "asaltof16chars..",
                123456,
                "BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1",
            ),
        ] {
            assert_eq!(crypt(password.as_bytes(), salt.as_bytes(), rounds), want, "{password}");
        }
    }
}
