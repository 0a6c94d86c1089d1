//! Bytes as a descriptor: read, judged, and made into environments.
//!
//! What must hold is decided in `hostile::packages`. Half of the changes are made by the fuzzer, which sees what is
//! reached, and half by one who knows how packages are written.

#![no_main]

use hostile::packages::{SPLINTERS, descriptor};
use hostile::random::Random;
use hostile::texts::mutate;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|input: &[u8]| -> Corpus {
    descriptor(input);
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut input = data[..size].to_vec();
    let other = input.clone();
    mutate(&mut input, &other, &SPLINTERS, &mut Random::new(u64::from(seed), 0));
    input.truncate(max_size);
    data[..input.len()].copy_from_slice(&input);
    input.len()
});
