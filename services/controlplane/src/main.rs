//! The `controlplane` command as a process.

use std::process::ExitCode;

use clap::Parser as _;
use controlplane::command::CommandLine;

// INVARIANT: one thread. Children die with the thread that started them (`up::child`), so that
// thread must live as long as the process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    controlplane::command::run(CommandLine::parse()).await
}
