//! Bytes as a value that is written into each format, and read back.
//!
//! What must hold is decided in `hostile::templates`.

#![no_main]

use hostile::templates::Desk;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DESK: Desk = Desk::default();
}

fuzz_target!(|value: &[u8]| {
    DESK.with(|desk| desk.escape(value));
});
