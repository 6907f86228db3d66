//! Places where a test may kill the process, as `kill -9` would. Without the `failpoints` feature
//! they are nothing.

/// Ends the process here if `CONTROL_PLANE_FAILPOINT` names this place and its file does not exist
/// yet; the file is left behind, so that the process that is started next gets past it. With
/// `CONTROL_PLANE_FAILPOINT_STOPS` it stands still instead, as by SIGSTOP.
#[cfg(feature = "failpoints")]
#[expect(
    clippy::disallowed_methods,
    reason = "a test arms it from outside, in a build that is never released"
)]
pub fn reach(name: &str) {
    if std::env::var("CONTROL_PLANE_FAILPOINT").as_deref() != Ok(name) {
        return;
    }
    if let Ok(mark) = std::env::var("CONTROL_PLANE_FAILPOINT_FILE") {
        let created = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&mark);
        if created.is_err() {
            return;
        }
        if std::env::var_os("CONTROL_PLANE_FAILPOINT_STOPS").is_none() {
            std::process::abort();
        }
        tracing::warn!(name, "stands still");
        // Goes on here when the test says so.
        let stop = ["-c", "kill -STOP $PPID"];
        let _ = std::process::Command::new("sh").args(stop).status();
    }
}

#[cfg(not(feature = "failpoints"))]
pub fn reach(_name: &str) {}
