//! Processes that stand still, and a caller that takes all its places.

use std::process::Command;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    doors::{Doors, WORKSPACE},
    world::World,
};

/// A process of a control plane that stands still until it is told to go on, or this is dropped.
pub struct Stopped {
    pid: i32,
}

impl Stopped {
    pub fn the(world: &World, name: &str) -> Self {
        let pid = world.pid_of(name);
        signal("-STOP", pid);
        Self { pid }
    }

    pub fn goes_on(self) {
        drop(self);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("-CONT", self.pid);
    }
}

fn signal(signal: &str, pid: i32) {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success(), "{signal} to {pid}");
}

/// Requests of one principal to the read model that were let in and are not sent to their ends.
pub struct OneTooMany {
    streams: Vec<TcpStream>,
}

impl OneTooMany {
    /// As many as there are places for.
    pub async fn of(doors: &Doors, who: &str, places: usize) -> Self {
        let address = doors.world.file("run/projector.address");
        let token = &doors.person(WORKSPACE, who).token;
        let head = format!(
            "POST /v1/execution.list HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        );
        let mut streams = Vec::new();
        for _ in 0..places {
            let mut stream = TcpStream::connect(address.trim()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            // The body is asked for once the caller is let in.
            let mut answer = [0; 25];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
            streams.push(stream);
        }
        Self { streams }
    }

    /// Each is sent to its end, and answered.
    pub async fn are_free(self) {
        for mut stream in self.streams {
            stream.write_all(b"{}").await.unwrap();
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        }
    }
}
