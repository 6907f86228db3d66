//! Request and reply.

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::MemoryJournal;
use crate::{
    Unavailable,
    permissions::ACROSS_ACCOUNTS,
    request::{HEADERS_MAX, Incoming, Reply, Request, RequestError, Requests, Respond},
};

/// Requests that wait for one server; more are lost, as on a slow connection.
const QUEUE: usize = 1024;

/// Someone who serves a subject.
pub(super) struct Server {
    subject: String,
    requests: mpsc::Sender<Incoming>,
}

impl MemoryJournal {
    pub(super) fn answer(&self, subject: &str, _queue: &str) -> Box<dyn Requests> {
        let (requests, incoming) = mpsc::channel(QUEUE);
        self.shared.lock().servers.push(Server {
            subject: subject.to_owned(),
            requests,
        });
        Box::new(Served(incoming))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, RequestError> {
        let Request {
            subject,
            headers,
            payload,
            timeout: patience,
            // Nothing in memory ends a connection.
            apart: _,
        } = request;
        let (responder, answer) = oneshot::channel();
        let incoming = Incoming {
            subject: subject.clone(),
            too_many_headers: headers.len() > HEADERS_MAX,
            headers,
            payload,
            // There are no accounts in memory: whoever asks is another.
            reply: Some(format!("{ACROSS_ACCOUNTS}memory")),
            responder: Box::new(Responder(responder)),
        };
        let sent = {
            let mut state = self.shared.lock();
            state.servers.retain(|server| !server.requests.is_closed());
            let found = state
                .servers
                .iter()
                .position(|server| matches(&server.subject, &subject));
            let Some(found) = found else {
                return Err(RequestError::NoResponders { subject });
            };
            // The next request goes to the next server.
            let server = state.servers.remove(found);
            let sent = server.requests.try_send(incoming).is_ok();
            state.servers.push(server);
            sent
        };
        match timeout(patience, answer).await {
            Ok(Ok(reply)) if sent => Ok(reply),
            Ok(_) | Err(_) => Err(RequestError::Timeout {
                subject,
                timeout: patience,
            }),
        }
    }
}

fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            (_, Some(_) | None) => return false,
        }
    }
    tokens.next().is_none()
}

struct Served(mpsc::Receiver<Incoming>);

#[async_trait]
impl Requests for Served {
    async fn next(&mut self) -> Option<Incoming> {
        self.0.recv().await
    }

    async fn drain(&mut self) {
        self.0.close();
    }
}

struct Responder(oneshot::Sender<Reply>);

#[async_trait]
impl Respond for Responder {
    async fn respond(self: Box<Self>, reply: Reply) -> Result<(), Unavailable> {
        // Who asked may have given up.
        let _ = self.0.send(reply);
        Ok(())
    }
}
