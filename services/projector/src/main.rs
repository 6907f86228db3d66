//! The projector as a process.

use std::process::ExitCode;

use contracts::event::Service;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    host::serve::run(Service::Projector, projector::start).await
}
