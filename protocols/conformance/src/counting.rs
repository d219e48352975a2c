//! An allocator that counts the bytes alive per trial: the machine's own allocator, and one number.
//!
//! The threads of a trial's runtime form a family with one count, so that it is exact whatever other
//! tests do at the same time. This is the only unsafe code of the kit: the trait cannot be implemented
//! without.

#![expect(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; every call goes to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Counts what each trial allocates. In a test binary:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: protocols_conformance::Counting = protocols_conformance::Counting;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting;

/// The bytes alive of one trial.
pub(crate) type Family = &'static AtomicI64;

static INSTALLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Without a destructor: it is there to the end of the thread.
    static FAMILY: Cell<Option<Family>> = const { Cell::new(None) };
}

/// A new family. It is never given back: a driver may leave a thread behind. Eight bytes a trial.
pub(crate) fn family() -> Family {
    Box::leak(Box::new(AtomicI64::new(0)))
}

/// This thread is of this family from now on.
pub(crate) fn join(family: Family) {
    FAMILY.set(Some(family));
}

/// Bytes that this thread's family allocated and has not freed; `None` where nobody counts.
pub(crate) fn alive() -> Option<i64> {
    let family = FAMILY.get()?;
    INSTALLED
        .load(Ordering::Relaxed)
        .then(|| family.load(Ordering::Relaxed))
}

fn add(bytes: usize) {
    if let Some(family) = FAMILY.get() {
        family.fetch_add(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
        INSTALLED.store(true, Ordering::Relaxed);
    }
}

fn take(bytes: usize) {
    if let Some(family) = FAMILY.get() {
        family.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
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
