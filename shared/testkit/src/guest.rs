//! A client of one of a broker's users, which tries what it may not, and hears what it can.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, Request, RequestErrorKind, Subscriber};
use futures::StreamExt as _;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// How long the broker may take to say what it refuses.
const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// How long an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);

/// What nobody may publish to: once the broker has refused it, it has refused all before it.
const NOBODYS: &str = "nobody.may.publish.this";

/// One user's connection.
pub struct Guest {
    pub client: Client,
    refusals: mpsc::UnboundedReceiver<String>,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl Guest {
    /// `inbox` is where the user may hear answers.
    pub async fn connect(url: &str, user: &str, password: &str, inbox: &str) -> Self {
        let (tell, refusals) = mpsc::unbounded_channel();
        let options = ConnectOptions::new()
            .user_and_password(user.to_owned(), password.to_owned())
            .custom_inbox_prefix(inbox)
            .event_callback(move |event| {
                let tell = tell.clone();
                async move {
                    let _ = tell.send(event.to_string());
                }
            });
        match options.connect(url).await {
            Ok(client) => Self { client, refusals },
            Err(error) => panic!("`{user}` cannot connect: {error}"),
        }
    }

    /// Whether the broker takes a message on this subject.
    pub async fn may_publish(&mut self, subject: &str) -> bool {
        self.publish(subject, b"x").await;
        !self.is_refused(&format!("Publish to \"{subject}\"")).await
    }

    /// Whether the broker lets it hear what is said on this subject.
    pub async fn may_subscribe(&mut self, subject: &str) -> bool {
        let _subscriber = self.subscribe(subject).await;
        !self
            .is_refused(&format!("Subscription to \"{subject}\""))
            .await
    }

    pub async fn publish(&self, subject: &str, payload: &[u8]) {
        let sent = self
            .client
            .publish(subject.to_owned(), payload.to_vec().into());
        if let Err(error) = sent.await {
            panic!("`{subject}` cannot be published to: {error}");
        }
    }

    /// Returns once the broker has all that was published.
    pub async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            panic!("the broker does not take what was sent: {error}");
        }
    }

    /// Asks, and hears the answer with all its headers; nothing where nobody is there to answer.
    pub async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: Vec<u8>,
    ) -> Option<Heard> {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.append(*name, *value);
        }
        let request = Request::new()
            .headers(sent)
            .payload(payload.into())
            .timeout(Some(ANSWERED_WITHIN));
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(message) => Some(Heard {
                subject: message.subject.to_string(),
                headers: message.headers.as_ref().map(pairs).unwrap_or_default(),
                payload: message.payload.to_vec(),
            }),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => None,
            Err(error) => panic!("`{subject}` was not answered: {error}"),
        }
    }

    /// Keeps what is said on this subject from now on.
    pub async fn listen(&self, subject: &str) -> mpsc::UnboundedReceiver<Heard> {
        let mut subscriber = self.subscribe(subject).await;
        self.flush().await;
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                let headers = message.headers.as_ref().map(pairs).unwrap_or_default();
                let said = tell.send(Heard {
                    subject: message.subject.to_string(),
                    headers,
                    payload: message.payload.to_vec(),
                });
                if said.is_err() {
                    return;
                }
            }
        });
        heard
    }

    /// Answers each message on this subject with what `answer` says to it.
    pub async fn answer(
        &self,
        subject: &str,
        answer: impl Fn(&[(String, String)], &[u8]) -> Vec<u8> + Send + 'static,
    ) -> JoinHandle<()> {
        let mut subscriber = self.subscribe(subject).await;
        self.flush().await;
        let client = self.client.clone();
        tokio::spawn(async move {
            while let Some(message) = subscriber.next().await {
                let headers = message.headers.as_ref().map(pairs).unwrap_or_default();
                let Some(reply) = message.reply else { continue };
                let said = answer(&headers, &message.payload);
                // Whoever asked may be gone by now.
                let _ = client.publish(reply, said.into()).await;
            }
        })
    }

    async fn subscribe(&self, subject: &str) -> Subscriber {
        match self.client.subscribe(subject.to_owned()).await {
            Ok(subscriber) => subscriber,
            Err(error) => panic!("`{subject}` cannot be subscribed to: {error}"),
        }
    }

    async fn is_refused(&mut self, what: &str) -> bool {
        self.publish(NOBODYS, b"x").await;
        let mut refused = false;
        loop {
            let Ok(Some(text)) = timeout(REFUSED_WITHIN, self.refusals.recv()).await else {
                panic!("the broker has not refused `{NOBODYS}`, which it must");
            };
            refused |= text.contains(what);
            if text.contains(NOBODYS) {
                return refused;
            }
        }
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let all = headers.iter();
    all.flat_map(|(name, values)| {
        let values = values.iter();
        values.map(|value| (name.to_string(), value.to_string()))
    })
    .collect()
}
