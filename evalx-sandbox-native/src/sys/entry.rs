//! The hook that takes over before `main` when the executable is started again
//! as a launcher.
//!
//! A library has no helper binary to rely on and can't ask its host to call an
//! `init()`. So the current executable is started again through
//! `/proc/self/exe`; the loader runs the functions of `.init_array` before
//! `main`, and this one sees from a private marker in the environment that the
//! process is to be a launcher. (runc's `nsexec` works in this way.)

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The only variable of a launcher's environment.
pub(crate) const MARKER: &str = "__EVALX_NATIVE_LAUNCHER";

/// Whether the hook has run, in whichever process this is.
static RAN: AtomicBool = AtomicBool::new(false);

#[used]
// SAFETY: the section holds pointers to functions of this signature, which the
// C library calls once each, on the only thread there is.
#[unsafe(link_section = ".init_array")]
static ENTRY: extern "C" fn() = before_main;

extern "C" fn before_main() {
    RAN.store(true, Ordering::Relaxed);
    // SAFETY: the text ends with a NUL, and no other thread changes the
    // environment: there is none yet.
    let marked = unsafe { !libc::getenv(c"__EVALX_NATIVE_LAUNCHER".as_ptr()).is_null() };
    if marked {
        crate::launcher::main();
    }
}

/// Makes the linker keep the hook, and says whether it has run: it has not
/// where this code is in a shared library that another program loaded.
pub(crate) fn keep_entry() -> bool {
    static KEPT: OnceLock<usize> = OnceLock::new();
    KEPT.get_or_init(|| std::hint::black_box(&raw const ENTRY) as usize);
    RAN.load(Ordering::Relaxed)
}

/// The marker's name, and its value for a launcher.
pub(crate) fn arm() -> (&'static str, &'static str) {
    (MARKER, "1")
}
