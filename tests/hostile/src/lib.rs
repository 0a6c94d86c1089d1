//! Hostile input: images and documents broken on purpose, the same ones every time.
//!
//! Decides how input is broken, and knows the proper input that it starts from. What becomes of images and documents is
//! judged in `tests/mutants.rs` beside it, in the fuzz targets in `tests/fuzz` and the comparison of ISO readers in
//! `bench/iso-readers`, all of which take their input from here. What holds of every property ([`parameters`]), every
//! template ([`templates`]) and every package ([`packages`]) is decided here, for the tests and the fuzz targets alike.
//!
//! A mutant is a pure function of a seed and a number, so that a failure is told in two numbers.

#![forbid(unsafe_code)]

pub mod bases;
pub mod documents;
pub mod drive;
pub mod images;
pub mod layout;
pub mod packages;
pub mod parameters;
pub mod random;
pub mod templates;
pub mod texts;

/// The seed of all runs that are to be repeated.
pub const SEED: u64 = 0x0DF5_0243;
