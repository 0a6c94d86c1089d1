//! Eight bytes of a text at a time.
//!
//! Decides where in a text the first byte of some kind is. All of a document is looked through for characters that are
//! forbidden, and its values for their ends; byte by byte, that made up an eighth of the time of parsing. Does not
//! decide what is looked for: a kind is a function of eight bytes that sets the highest bit of the first byte that is
//! meant, and none below it; above it there may be anything (to subtract sets bits too many, but only there).
#![forbid(unsafe_code)]

const HIGHEST: u64 = all(0x80);

/// The same byte eight times.
#[inline(always)]
pub(super) const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The bytes that are that of `all`.
#[inline(always)]
pub(super) const fn equal(word: u64, all_of_it: u64) -> u64 {
    let zero = word ^ all_of_it;
    zero.wrapping_sub(all(1)) & !zero & HIGHEST
}

/// The bytes below a blank: control characters but DEL.
#[inline(always)]
pub(super) const fn below_blank(word: u64) -> u64 {
    word.wrapping_sub(all(b' ')) & !word & HIGHEST
}

/// The first byte of that kind at `from` or behind it.
#[inline(always)]
pub(super) fn find(bytes: &[u8], from: usize, kind: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.get(from..)?.as_chunks();
    let mut at = from;
    for word in words {
        let found = kind(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    // Filled up with a byte that no kind has, and that hides no other.
    let last = rest.iter().rev().fold(all(b'x'), |word, byte| word << 8 | u64::from(*byte));
    let found = kind(last);
    (found != 0).then(|| at + found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::{all, below_blank, equal, find};

    #[test]
    fn the_first_is_found_wherever_it_stands() {
        let quote = |word| equal(word, all(b'"'));
        for length in 0..40 {
            for at in 0..length {
                // The neighbours are those that arithmetic on bytes gets wrong first.
                for around in [b'!', b'#', 0xA2, 0xFF] {
                    let mut text = vec![around; length];
                    text[at] = b'"';
                    text[length - 1] = b'"';
                    assert_eq!(find(&text, 0, quote), Some(at), "{length} bytes of {around:#x}");
                    assert_eq!(find(&text, at, quote), Some(at), "{length} bytes of {around:#x}");
                    assert_eq!(find(&text[..at], 0, quote), None, "{at} bytes of {around:#x}");
                }
            }
        }
        assert_eq!(find(b"a", 2, quote), None);
    }

    #[test]
    fn control_characters_are_below_a_blank() {
        for byte in 0..=u8::MAX {
            let mut text = *b"abcdefghijk";
            text[9] = byte;
            assert_eq!(find(&text, 0, below_blank), (byte < b' ').then_some(9), "{byte:#x}");
        }
    }
}
