//! An allocator that counts the bytes alive per thread: the machine's own allocator, and one number.
//!
//! A trial and its driver run on one thread, so that the count is exact whatever other tests do at the
//! same time. This is the only unsafe code of the kit: the trait cannot be implemented without.

#![expect(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; every call goes to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what each thread allocates. In a test binary:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: protocols_conformance::Counting = protocols_conformance::Counting;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting;

thread_local! {
    /// Bytes allocated less bytes freed by this thread. Without a destructor: it is there to the end.
    static ALIVE: Cell<i64> = const { Cell::new(0) };
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
}

/// Bytes that this thread allocated and nobody on it freed; `None` where nobody counts.
pub(crate) fn alive() -> Option<i64> {
    // One allocation, so that a thread that made none yet does not look uncounted.
    drop(std::hint::black_box(Box::new(0_u8)));
    INSTALLED.get().then(|| ALIVE.get())
}

fn add(bytes: usize) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    ALIVE.set(ALIVE.get().saturating_add(bytes));
    INSTALLED.set(true);
}

fn take(bytes: usize) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    ALIVE.set(ALIVE.get().saturating_sub(bytes));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; the
// counting allocates nothing and cannot unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(layout.size());
        add(size);
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
