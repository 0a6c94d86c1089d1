//! Text broken where it hurts, whatever the text is.
//!
//! Decides what is done to a text as bytes: what any damage would do to it, and what its own kind of writer may slip in,
//! which is given as a list of splinters.

#![forbid(unsafe_code)]

use crate::random::Random;

/// Never longer than this, so that mutants of mutants stay small.
const LARGE: usize = 1 << 16;

/// The mutant of this number: one of the texts, broken in one to four places.
pub fn mutant(bases: &[Vec<u8>], splinters: &[&str], seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let mut text = bases[random.below(bases.len())].clone();
    for _ in 0..random.breaks() {
        let other = &bases[random.below(bases.len())];
        mutate(&mut text, other, splinters, &mut random);
    }
    text
}

/// Breaks a text in one place; `other` gives pieces to put in.
pub fn mutate(text: &mut Vec<u8>, other: &[u8], splinters: &[&str], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(12) {
        0 => {
            let bit = 1 << random.below(8);
            if let Some(byte) = text.get_mut(at) {
                *byte ^= bit;
            }
        }
        1 => text.truncate(at),
        2 | 3 => {
            let end = (at + 1 + random.below(12)).min(text.len());
            text.drain(at.min(end)..end);
        }
        4..=7 => {
            let splinter = random.pick(splinters);
            text.splice(at..at, splinter.bytes());
        }
        8 => {
            // One in the place of what stands there.
            let splinter = random.pick(splinters);
            let end = (at + splinter.len()).min(text.len());
            text.splice(at..end, splinter.bytes());
        }
        9 => {
            // A piece of its own once more, often.
            let end = (at + 1 + random.below(40)).min(text.len());
            let times = if random.one_in(20) { 1000 } else { 1 + random.below(4) };
            let piece = text[at..end].repeat(times);
            text.splice(at..at, piece);
        }
        10 => {
            let (from, len) = (random.below(other.len() + 1), random.below(60));
            text.splice(at..at, other[from..].iter().take(len).copied().collect::<Vec<_>>());
        }
        _ => {
            // A line of the other's in the place of one of ours.
            let line = |text: &[u8], at: usize| {
                let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |it| it + 1);
                let end = text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |it| at + it);
                start..end
            };
            let theirs = other[line(other, random.below(other.len() + 1))].to_vec();
            text.splice(line(text, at), theirs);
        }
    }
    text.truncate(LARGE);
}
