//! Real guests for tests: boots or restores QEMU machines with the agent inside, plays the platform's side
//! of the agent's port, and looks into the guest.
//!
//! [`Lab`] and [`Bench`] are where a test begins; `README.md` beside this crate shows one.

// Where a test begins, and what it gets.
pub mod lab;
pub mod vm;

// The platform's end of the agent's port: the connection, its lines, what they say.
pub mod frames;
pub mod host;
pub mod report;

// Looking into a guest: scripts and files, the serial console, QEMU's monitor.
pub mod console;
pub mod control;
pub mod qmp;

// What a guest is made of: what must be installed before, its devices, its discs, its files.
pub mod files;
pub mod iso;
pub mod machine;
pub mod tools;
pub mod vsock;

mod appliance;
mod debian;
mod disk;
mod initramfs;
mod memory;
mod modules;
mod openrc;
mod qemu;
mod saved;
mod wire;

pub use console::Line;
pub use control::{Job, Output};
pub use files::{File, Files, Tree};
pub use host::{Host, Received};
pub use iso::Variant;
pub use lab::{Bench, Lab};
pub use machine::{Arch, Drive, Machine};
pub use report::Report;
pub use vm::{Connect, Vm, image};
pub use vsock::Vsock;
