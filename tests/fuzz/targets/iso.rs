//! Bytes as an image, given to the agent's reader.
//!
//! Decides that nothing may panic, hang or return more than the limit. Half of the changes are made by the fuzzer, which
//! sees what is reached, and half by `hostile::images`, which knows where the fields are.

#![no_main]

use std::cell::RefCell;

use hostile::drive::{Drive, Found};
use hostile::images::mutate;
use hostile::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use ovf_agent::environment::MAX_DOCUMENT;

thread_local! {
    static DRIVE: RefCell<Drive> = RefCell::new(Drive::new().expect("a memory file"));
}

fuzz_target!(|image: &[u8]| {
    let found = DRIVE.with_borrow_mut(|drive| {
        drive.insert(image).expect("memory");
        let _ = drive.extract();
        drive.read()
    });
    if let Found::Document(document) = found {
        assert!(document.len() <= MAX_DOCUMENT, "{} bytes", document.len());
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut image = data[..size].to_vec();
    mutate(&mut image, &mut Random::new(u64::from(seed), 0));
    image.truncate(max_size);
    data[..image.len()].copy_from_slice(&image);
    image.len()
});
