//! Places where a test may kill the process, as `kill -9` would. Without the `failpoints` feature
//! they are nothing.

/// Ends the process here if `CONTROL_PLANE_FAILPOINT` names this place and its file does not exist
/// yet; the file is left behind, so that the process that is started next gets past it.
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
        if created.is_ok() {
            std::process::abort();
        }
    }
}

#[cfg(not(feature = "failpoints"))]
pub fn reach(_name: &str) {}
