//! Bytes as a declaration and what a property says.
//!
//! What must hold is decided in `hostile::parameters`. Half of the changes are made by the fuzzer, which sees what is
//! reached, and half by one who knows how properties are written.

#![no_main]

use hostile::parameters::{SPLINTERS, look};
use hostile::random::Random;
use hostile::texts::mutate;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| -> Corpus {
    match look(input) {
        "not looked at" => Corpus::Reject,
        _ => Corpus::Keep,
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut text = data[..size].to_vec();
    let other = text.clone();
    mutate(&mut text, &other, &SPLINTERS, &mut Random::new(u64::from(seed), 0));
    text.truncate(max_size);
    data[..text.len()].copy_from_slice(&text);
    text.len()
});
