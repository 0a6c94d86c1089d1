//! What is left in the log when the program stops by a bug: where it was, and by what way it had come there.
//!
//! A bug ends in a signal, also one that Rust notices: what we ship has no texts of panics, which saves 155 KiB
//! (docs/decisions/011). Decides the line that is written then: the signal, the address of the instruction and those on the stack
//! that follow a call, all as the program's file counts them, wherever the kernel has put it, and the build that they are of.
//! `packaging/static/where` makes functions and lines of them. Addresses are all that it tells: what else is on the stack may
//! be a secret, and for the same reason there is no core file.
//!
//! The handler calls nothing but write(2), open(2) and raise(3) (signal-safety(7)), has a stack of its own (sigaltstack(2)), and
//! leaves the process to the signal's own action, so whoever started us sees how it ended.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int, c_void};
use std::mem::{MaybeUninit, size_of};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use nix::libc;

/// The signals that a bug ends in, and their names.
const SIGNALS: [(c_int, &str); 6] = [
    (libc::SIGILL, "SIGILL"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
];

/// So many words of the stack are looked at.
const WORDS: usize = 4096;
/// So many addresses are told, those that earlier calls have left behind among them.
const CALLS: usize = 48;
const STACK: usize = 16 * 1024;

/// The stack of the handler, which is for the kernel and the handler alone.
#[repr(align(16))]
struct HandlerStack(UnsafeCell<[MaybeUninit<u8>; STACK]>);

// SAFETY: nothing of ours reads or writes it but the one handler that runs on it.
unsafe impl Sync for HandlerStack {}

static HANDLER_STACK: HandlerStack = HandlerStack(UnsafeCell::new([MaybeUninit::uninit(); STACK]));
/// The far end of the main thread's stack.
static TOP: AtomicUsize = AtomicUsize::new(0);
/// Whether standard error is nobody's, so that the kernel's log is told.
static KMSG: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    /// The ELF header that the image begins with, and the end of its code: made by the linker (ld(1), `etext`).
    #[link_name = "__ehdr_start"]
    static IMAGE: libc::Elf64_Ehdr;
    #[link_name = "etext"]
    static CODE_END: u8;
    /// Where the kernel has put the variables: at the far end of the stack, above all calls (environ(7), execve(2)).
    #[link_name = "environ"]
    static VARIABLES: *const c_void;
}

/// Sees to it that a bug leaves a line, and that no core file of this process is ever made. To be called by `main`, first of all.
pub fn install() {
    // SAFETY: nobody has changed a variable yet.
    TOP.store(unsafe { VARIABLES }.expose_provenance(), Relaxed);
    KMSG.store(super::process::stderr_is_unattended(), Relaxed);
    // SAFETY: prctl(2) with numbers; the stack lives as long as the process; the actions are whole, and the handler does only
    // what a handler may.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        let stack = libc::stack_t { ss_sp: HANDLER_STACK.0.get().cast(), ss_flags: 0, ss_size: STACK };
        libc::sigaltstack(&raw const stack, ptr::null_mut());
        for (signal, _) in SIGNALS {
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = stopped as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

/// The handler. What it writes is put together here, as a handler can neither allocate nor format.
extern "C" fn stopped(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let (parts, moved) = parts();
    let code = (&raw const IMAGE).addr()..(&raw const CODE_END).addr();
    // SAFETY: with SA_SIGINFO the kernel passes a ucontext_t that lives as long as the handler runs (sigaction(2)).
    let (at, stack, link) = registers(unsafe { &*context.cast::<libc::ucontext_t>() });

    let mut line = Line { text: [0; 640], len: 0 };
    line.add("ovf-agent: stopped by a bug: ");
    line.add(SIGNALS.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name));
    line.add(" at ");
    line.add_hex(at.wrapping_sub(moved));
    line.add(" of build ");
    build_id(parts, moved, |byte| line.add_byte(byte));
    let (top, mut word, mut left, mut calls) = (TOP.load(Relaxed), stack, WORDS, CALLS);
    let mut next = link;
    while calls > 0 {
        if let Some(address) = next.filter(|address| code.contains(address) && follows_a_call(*address)) {
            line.add(if calls == CALLS { ", called from " } else { " " });
            line.add_hex(address - moved);
            calls -= 1;
        }
        if word >= top || left == 0 {
            break;
        }
        // SAFETY: between the stack pointer and the stack's far end there is nothing but stack.
        next = Some(unsafe { ptr::with_exposed_provenance::<usize>(word).read() });
        (word, left) = (word + size_of::<usize>(), left - 1);
    }
    line.len = line.len.min(line.text.len() - 1);
    line.add_byte(b'\n');

    // SAFETY: plain calls of the kernel, with a buffer that is ours and names that end in zero.
    unsafe {
        let text = &raw const line.text;
        libc::write(libc::STDERR_FILENO, text.cast(), line.len);
        if KMSG.load(Relaxed) {
            const PATH: &CStr = c"/dev/kmsg";
            let kmsg = libc::open(PATH.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if kmsg >= 0 {
                libc::write(kmsg, text.cast(), line.len);
            }
        }
        // Waits until the handler is left, and has its own action by then.
        libc::raise(signal);
    }
}

/// The address of the instruction, that of the stack's end, and that to return to where this is not on the stack.
#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> (usize, usize, Option<usize>) {
    let registers = &context.uc_mcontext.gregs;
    (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize, None)
}

/// The address of the instruction, that of the stack's end, and that to return to where this is not on the stack.
#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> (usize, usize, Option<usize>) {
    // A function that calls no other leaves its way back in x30.
    let context = &context.uc_mcontext;
    (context.pc as usize, context.sp as usize, Some(context.regs[30] as usize))
}

/// Whether the instruction before `address`, which is in the code, is a call.
#[cfg(target_arch = "x86_64")]
fn follows_a_call(address: usize) -> bool {
    // SAFETY: the code is preceded by the ELF header, which is longer than any instruction.
    let byte = |back: usize| unsafe { ptr::with_exposed_provenance::<u8>(address - back).read() };
    // Of a number of bytes from here, or of what a register or a place in memory holds: `ff /2` in 2, 3, 4, 6 or 7 bytes.
    byte(5) == 0xe8 || [2, 3, 4, 6, 7].iter().any(|back| byte(*back) == 0xff && byte(back - 1) & 0x38 == 0x10)
}

/// Whether the instruction before `address`, which is in the code, is a call.
#[cfg(target_arch = "aarch64")]
fn follows_a_call(address: usize) -> bool {
    if !address.is_multiple_of(4) {
        return false;
    }
    // SAFETY: the code is preceded by the ELF header.
    let instruction = unsafe { ptr::with_exposed_provenance::<u32>(address - 4).read() };
    // `bl` and `blr`.
    instruction & 0xfc00_0000 == 0x9400_0000 || instruction & 0xffff_fc1f == 0xd63f_0000
}

/// The parts that the image's header names, and how far the kernel has moved them: nowhere, where a program is not position
/// independent. The part with the header itself comes first of those that are loaded (elf(5)).
fn parts() -> (&'static [libc::Elf64_Phdr], usize) {
    let image = &raw const IMAGE;
    // SAFETY: the kernel has mapped the header and the table that it names, aligned as ELF wants it; it would not have
    // started the program otherwise.
    let parts = unsafe {
        let table = image.byte_add((*image).e_phoff as usize).cast::<libc::Elf64_Phdr>();
        slice::from_raw_parts(table, usize::from((*image).e_phnum))
    };
    let first =
        parts.iter().find(|part| part.p_type == libc::PT_LOAD).map_or(0, |part| part.p_vaddr as usize);
    (parts, image.expose_provenance() - first)
}

/// The bytes of the build ID among `parts`, as hexadecimal digits (elf(5), `NT_GNU_BUILD_ID`).
fn build_id(parts: &[libc::Elf64_Phdr], moved: usize, mut digit: impl FnMut(u8)) {
    for part in parts.iter().filter(|part| part.p_type == libc::PT_NOTE) {
        let mut note = moved + part.p_vaddr as usize;
        let end = note + part.p_memsz as usize;
        while note + 12 <= end {
            // SAFETY: the kernel has mapped the notes, aligned as ELF wants them.
            let [name, length, kind] = unsafe { ptr::with_exposed_provenance::<[u32; 3]>(note).read() };
            let content = note + 12 + (name as usize).next_multiple_of(4);
            if kind == 3 && name == 4 {
                for byte in content..content + length as usize {
                    // SAFETY: as above.
                    let byte = unsafe { ptr::with_exposed_provenance::<u8>(byte).read() };
                    [byte >> 4, byte & 15].into_iter().for_each(|half| digit(hex(half)));
                }
                return;
            }
            note = content + (length as usize).next_multiple_of(4);
        }
    }
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// A line in the making; what does not fit is left out.
struct Line {
    text: [u8; 640],
    len: usize,
}

impl Line {
    fn add_byte(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn add(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.add_byte(byte));
    }

    fn add_hex(&mut self, number: usize) {
        let digits = (number.max(1).ilog2() / 4 + 1) as usize;
        for digit in (0..digits).rev() {
            self.add_byte(hex((number >> (4 * digit)) as u8 & 15));
        }
    }
}
