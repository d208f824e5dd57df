//! Where a test pulls the plug: the boundaries of commits, each by the name of its stage.
//!
//! `MOKSORI_CRASH_AT="store commit:3"` kills the process, as `kill -9` would, at the third pass of a point
//! of that stage. Without the variable a point is one load; release builds have none.

#[cfg(all(debug_assertions, unix))]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    /// The stage that the environment names, and the passes that are left.
    static PLAN: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let plan = std::env::var("MOKSORI_CRASH_AT").ok()?;
        let (stage, pass) = plan.rsplit_once(':')?;
        Some((stage.to_owned(), AtomicU64::new(pass.parse().ok()?)))
    });

    pub(super) fn pass(stage: &str) {
        let Some((wanted, left)) = &*PLAN else { return };
        if wanted == stage && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let own = rustix::process::getpid();
            if rustix::process::kill_process(own, rustix::process::Signal::KILL).is_err() {
                std::process::abort();
            }
            // The signal may take a moment; nothing may happen meanwhile.
            loop {
                std::thread::park();
            }
        }
    }
}

/// A point of `stage` where the process can be made to die.
pub fn point(stage: &'static str) {
    #[cfg(all(debug_assertions, unix))]
    armed::pass(stage);
    #[cfg(not(all(debug_assertions, unix)))]
    let _unarmed = stage;
}
