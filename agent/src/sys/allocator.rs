//! The memory allocator of the binary: dlmalloc behind a lock that costs one atomic exchange.
//!
//! Decides how the heap is locked. The crate's own global allocator takes a pthread mutex for each call, which is a sixth
//! of the processor time of a pass; the agent has one thread, so nobody is ever waited for, and the lock is for those
//! that a library might start (docs/decisions/003).
//!
//! And that what is given back is wiped: of a value there are copies in the template engine and in readers of JSON and TOML, which
//! nobody wipes by hand.
//!
//! And that a large block is pages of its own, which go back to the kernel with it: dlmalloc keeps what it once had, and the agent
//! would keep 35 MiB for the rest of its life after one line of 16 MiB. Such a block grows without a copy (mremap(2)).

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use dlmalloc::Dlmalloc;
use nix::libc;

/// From so many bytes on a block is pages of its own.
const LARGE: usize = 256 * 1024;
/// Pages are aligned to this, on every machine.
const PAGE: usize = 4096;

/// Whether blocks of this layout are pages of their own.
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// What mmap(2) and mremap(2) give, as an allocator does.
fn pages(block: *mut libc::c_void) -> *mut u8 {
    if block == libc::MAP_FAILED { std::ptr::null_mut() } else { block.cast() }
}

/// Pages of zeros.
fn map(size: usize) -> *mut u8 {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new pages, at an address of the kernel's choice.
    pages(unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) })
}

/// A heap of its own.
pub struct Allocator {
    taken: AtomicBool,
    heap: UnsafeCell<Dlmalloc>,
}

// SAFETY: the heap is reached through `locked` alone, by one thread at a time.
unsafe impl Sync for Allocator {}

impl Allocator {
    /// An empty heap.
    #[expect(clippy::new_without_default, reason = "for a static, which no Default can make")]
    pub const fn new() -> Self {
        Self { taken: AtomicBool::new(false), heap: UnsafeCell::new(Dlmalloc::new()) }
    }

    #[inline]
    fn locked<R>(&self, work: impl FnOnce(&mut Dlmalloc) -> R) -> R {
        while self.taken.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: whoever has set the flag is alone until it is taken back; the heap calls nothing that allocates.
        let result = work(unsafe { &mut *self.heap.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}

// SAFETY: what dlmalloc promises of a heap that one thread uses at a time: blocks of the layout, that do not overlap. A
// failure is a null pointer.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: as the caller promises.
        self.locked(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: as the caller promises.
        self.locked(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) {
            // The kernel wipes them before anybody has them again.
            // SAFETY: they are ours, as many as were mapped, and nobody's from here on.
            unsafe { libc::munmap(block.cast(), layout.size()) };
            return;
        }
        // SAFETY: the block has that size, and is the caller's until it is given back below.
        unsafe { block.write_bytes(0, layout.size()) };
        // SAFETY: as the caller promises.
        self.locked(|heap| unsafe { heap.free(block, layout.size(), layout.align()) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_large(layout) && size >= LARGE {
            // SAFETY: they are ours, as many as were mapped; what moves is not left behind.
            return pages(unsafe { libc::mremap(block.cast(), layout.size(), size, libc::MREMAP_MAYMOVE) });
        }
        // dlmalloc might move it, and would leave the old block as it is.
        // SAFETY: as the caller promises; the new block is another one, and both have as many bytes as are copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Allocator, GlobalAlloc, LARGE, Layout, PAGE};

    #[test]
    fn what_is_given_back_is_wiped() {
        static HEAP: Allocator = Allocator::new();
        let layout = Layout::from_size_align(4096, 16).expect("a layout");
        let larger = Layout::from_size_align(8192, 16).expect("a layout");
        // What dlmalloc itself writes into a free block.
        const HEAD: usize = 64;
        // SAFETY: blocks are used within their sizes; that what is not written yet is looked at is the point.
        unsafe {
            let block = HEAP.alloc(layout);
            // Behind it, so that it cannot grow where it is.
            let next = HEAP.alloc(layout);
            block.write_bytes(0xAA, 4096);
            let moved = HEAP.realloc(block, layout, 8192);
            assert!(std::slice::from_raw_parts(moved, 4096).iter().all(|byte| *byte == 0xAA));
            HEAP.dealloc(moved, larger);
            for size in [layout, larger] {
                let again = HEAP.alloc(size);
                let bytes = std::slice::from_raw_parts(again.add(HEAD), size.size() - 2 * HEAD);
                assert!(bytes.iter().all(|byte| *byte == 0), "{size:?}");
                HEAP.dealloc(again, size);
            }
            HEAP.dealloc(next, layout);
        }
    }

    /// From one byte less than large to as many more, and back: what was written stays, and what is given back is gone.
    #[test]
    fn a_large_block_is_pages_of_its_own() {
        static HEAP: Allocator = Allocator::new();
        let layout = |size| Layout::from_size_align(size, 16).expect("a layout");
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").expect("it is there");
            pages.split(' ').nth(1).and_then(|it| it.parse::<usize>().ok()).expect("a number") * PAGE
        };
        let before = resident();
        let mut size = LARGE - 1;
        // SAFETY: blocks are used within their sizes.
        unsafe {
            let mut block = HEAP.alloc(layout(size));
            block.write_bytes(0xAA, size);
            for next in [LARGE, LARGE + 1, 64 << 20, LARGE, LARGE - 1, 100] {
                block = HEAP.realloc(block, layout(size), next);
                let kept = std::slice::from_raw_parts(block, next.min(size));
                assert!(kept.iter().all(|byte| *byte == 0xAA), "{size} to {next}");
                block.write_bytes(0xAA, next);
                size = next;
            }
            HEAP.dealloc(block, layout(size));
            let zeroed = HEAP.alloc_zeroed(layout(2 * LARGE));
            assert!(std::slice::from_raw_parts(zeroed, 2 * LARGE).iter().all(|byte| *byte == 0));
            HEAP.dealloc(zeroed, layout(2 * LARGE));
            assert!(resident() < before + (32 << 20), "{} after {before}", resident());
        }
    }

    /// What one thread has written is there when it gives the block back, whatever others did to the same heap.
    #[test]
    fn threads_share_a_heap() {
        static HEAP: Allocator = Allocator::new();
        let work = |mark: u8| {
            for turn in 0..20_000_usize {
                let layout = Layout::from_size_align(1 + turn % 700, 1 << (turn % 7)).expect("a layout");
                let larger = layout.size() * 3;
                // SAFETY: the block is used within its size, and given back once, with the layout that it has.
                unsafe {
                    let block = HEAP.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()));
                    block.write_bytes(mark, layout.size());
                    let block = HEAP.realloc(block, layout, larger);
                    let kept =
                        std::slice::from_raw_parts(block, layout.size()).iter().all(|byte| *byte == mark);
                    assert!(kept, "another thread has written into this one's block");
                    HEAP.dealloc(block, Layout::from_size_align(larger, layout.align()).expect("a layout"));
                    let zeroed = HEAP.alloc_zeroed(layout);
                    assert!(std::slice::from_raw_parts(zeroed, layout.size()).iter().all(|byte| *byte == 0));
                    HEAP.dealloc(zeroed, layout);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..=4).for_each(|mark| {
                scope.spawn(move || work(mark));
            });
        });
    }
}
