//! The loop of a worker.

use std::{collections::HashMap, future::Future, pin::pin, sync::Arc};

use async_nats::{Client, ConnectOptions, Message, Subject};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::task::{Id, JoinError, JoinSet};

use crate::{
    answers::{Answers, Next},
    wire::{Call, Failure, Reply},
};

/// What a worker holds at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls at work at once; more wait in the subscription.
    pub calls_max: usize,
    /// Answers kept for repeated keys. A key comes again within minutes or never.
    pub answers_max: usize,
    pub answers_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 64,
            answers_max: 10_000,
            answers_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// Several workers share the calls of a skill.
const QUEUE_GROUP: &str = "worker";

/// The inbox of the executor's user, where its calls want their answers.
const CALLER_INBOX: &str = "_INBOX_executor.";

/// Messages that wait in a subscription; what comes beyond is dropped, and tried again by its
/// caller with the same key.
const WAITING_MAX: usize = 4096;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot connect to `{url}` as `{user}`; check that nats-server runs there and the password"
)]
pub struct ConnectError {
    url: String,
    user: String,
    source: async_nats::ConnectError,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot subscribe to `{subject}`")]
    Subscribe {
        subject: String,
        source: async_nats::SubscribeError,
    },
    #[error("cannot confirm the subscription to `{subject}`")]
    Flush {
        subject: String,
        source: async_nats::client::FlushError,
    },
    #[error("the connection was closed")]
    Closed,
}

/// A connection that serves skills.
#[derive(Debug, Clone)]
pub struct Worker {
    client: Client,
    limits: Limits,
    caller_inbox: String,
}

impl Worker {
    /// Connects as a worker's own user, who may subscribe to its skills and answer, nothing else;
    /// to one address or several, separated by commas.
    pub async fn connect(
        url: &str,
        user: &str,
        password: &str,
        limits: Limits,
    ) -> Result<Self, ConnectError> {
        let addresses: Vec<&str> = url.split(',').map(str::trim).collect();
        let client = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            .name("worker")
            .subscription_capacity(WAITING_MAX)
            .max_reconnects(None)
            .connect(addresses)
            .await
            .map_err(|source| ConnectError {
                url: url.to_owned(),
                user: user.to_owned(),
                source,
            })?;
        Ok(Self {
            client,
            limits,
            caller_inbox: CALLER_INBOX.to_owned(),
        })
    }

    /// Takes calls that want their answer under `prefix`, not in the executor's inbox.
    #[must_use]
    pub fn called_from(mut self, prefix: impl Into<String>) -> Self {
        self.caller_inbox = prefix.into();
        self
    }

    /// Serves the entry point `nats:<name>` of a workspace until `shutdown` is ready, then answers
    /// what has arrived and returns.
    pub async fn serve<H, A>(
        &self,
        workspace: &str,
        name: &str,
        handler: H,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError>
    where
        H: Fn(Call) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        let subject = format!("cp.skill.{workspace}.{name}");
        let mut calls = self
            .client
            .queue_subscribe(subject.clone(), QUEUE_GROUP.to_owned())
            .await
            .map_err(|source| ServeError::Subscribe {
                subject: subject.clone(),
                source,
            })?;
        self.flush(&subject).await?;
        tracing::info!(subject, "serving");

        let mut bench = Bench {
            client: self.client.clone(),
            workspace: workspace.to_owned(),
            subject: subject.clone(),
            caller_inbox: self.caller_inbox.clone(),
            handler: Arc::new(handler),
            answers: Answers::new(&self.limits),
            at_work: JoinSet::new(),
            keys: HashMap::new(),
        };
        let mut shutdown = pin!(shutdown);
        loop {
            let has_room = bench.at_work.len() < self.limits.calls_max;
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = bench.at_work.join_next_with_id() => bench.end(ended),
                message = calls.next(), if has_room => match message {
                    Some(message) => bench.take(message).await,
                    None => return Err(ServeError::Closed),
                },
            }
        }

        // The server sends no more; what it had sent before is still answered.
        if calls.drain().await.is_ok() {
            while let Some(message) = calls.next().await {
                while bench.at_work.len() >= self.limits.calls_max
                    && let Some(ended) = bench.at_work.join_next_with_id().await
                {
                    bench.end(ended);
                }
                bench.take(message).await;
            }
        }
        while let Some(ended) = bench.at_work.join_next_with_id().await {
            bench.end(ended);
        }
        self.flush(&subject).await?;
        tracing::info!(subject, "stopped");
        Ok(())
    }

    async fn flush(&self, subject: &str) -> Result<(), ServeError> {
        self.client
            .flush()
            .await
            .map_err(|source| ServeError::Flush {
                subject: subject.to_owned(),
                source,
            })
    }
}

/// The calls at work and what is known of earlier ones.
struct Bench<H> {
    client: Client,
    workspace: String,
    subject: String,
    caller_inbox: String,
    handler: Arc<H>,
    answers: Answers,
    /// Each gives the answer of a success.
    at_work: JoinSet<Option<Bytes>>,
    keys: HashMap<Id, String>,
}

impl<H, A> Bench<H>
where
    H: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    async fn take(&mut self, message: Message) {
        let Some(reply_to) = message.reply.clone() else {
            tracing::warn!(subject = %message.subject, "a call did not ask for an answer");
            return;
        };
        // The broker delivers what a stream holds to any subject, if a consumer asks for it: under
        // the subject it was stored at, to be acknowledged. Only the executor calls.
        if message.subject.as_str() != self.subject || !reply_to.starts_with(&self.caller_inbox) {
            tracing::warn!(
                subject = %message.subject,
                reply_to = %reply_to,
                "refused: not a call of the executor"
            );
            return;
        }
        let call = match Call::read(&message, &self.workspace) {
            Ok(call) => call,
            Err(error) => {
                tracing::warn!(subject = %message.subject, %error, "refused");
                let failure = Failure::permanent("INVALID_REQUEST", error.to_string());
                answer(&self.client, reply_to, &Reply::Error(failure)).await;
                return;
            }
        };
        match self.answers.begin(&call.idempotency_key) {
            Next::Act => {
                let key = call.idempotency_key.clone();
                let work = work(
                    self.client.clone(),
                    Arc::clone(&self.handler),
                    call,
                    reply_to,
                );
                self.keys.insert(self.at_work.spawn(work).id(), key);
            }
            Next::SayInProgress => {
                answer(&self.client, reply_to, &Reply::InProgress(true)).await;
            }
            Next::Repeat(bytes) => publish(&self.client, reply_to, bytes).await,
        }
    }

    fn end(&mut self, ended: Result<(Id, Option<Bytes>), JoinError>) {
        let (id, answer) = match ended {
            Ok((id, answer)) => (id, answer),
            Err(error) => {
                // Nothing was answered: the caller times out, which is the truth about the effect.
                tracing::error!(%error, "a call broke off");
                (error.id(), None)
            }
        };
        if let Some(key) = self.keys.remove(&id) {
            match answer {
                Some(answer) => self.answers.succeeded(key, answer),
                None => self.answers.forget(&key),
            }
        }
    }
}

/// Gives the answer of a success, to be remembered.
async fn work<H, A>(client: Client, handler: Arc<H>, call: Call, reply_to: Subject) -> Option<Bytes>
where
    H: Fn(Call) -> A,
    A: Future<Output = Result<Value, Failure>>,
{
    let key = call.idempotency_key.clone();
    let action = format!("{}/{}", call.skill, call.action);
    let attempt = call.attempt;
    let result = handler(call).await;
    let code = result
        .as_ref()
        .map_or_else(|failure| failure.code.clone(), |_| "ok".to_owned());
    tracing::info!(action, key, attempt, code, "answered");
    match result {
        Ok(output) => answer(&client, reply_to, &Reply::Output(output)).await,
        Err(failure) => {
            answer(&client, reply_to, &Reply::Error(failure)).await;
            None
        }
    }
}

async fn answer(client: &Client, reply_to: Subject, reply: &Reply) -> Option<Bytes> {
    match reply.encode() {
        Ok(bytes) => {
            publish(client, reply_to, bytes.clone()).await;
            Some(bytes)
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            None
        }
    }
}

async fn publish(client: &Client, reply_to: Subject, bytes: Bytes) {
    if let Err(error) = client.publish(reply_to, bytes).await {
        tracing::error!(%error, "an answer was not sent; its caller times out");
    }
}
