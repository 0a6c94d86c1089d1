//! Bytes as a template file, compiled and rendered with fixed values.
//!
//! What must hold is decided in `hostile::templates`. Half of the changes are made by the fuzzer, which sees what is
//! reached, and half by one who knows how templates are written.

#![no_main]

use hostile::random::Random;
use hostile::templates::{Desk, SPLINTERS};
use hostile::texts::mutate;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

thread_local! {
    static DESK: Desk = Desk::default();
}

fuzz_target!(|input: &[u8]| {
    DESK.with(|desk| desk.look(input));
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
