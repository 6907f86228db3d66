//! Request and reply.

use async_nats::{Client, Request as BrokerRequest, Subject, Subscriber, client::RequestErrorKind};
use async_trait::async_trait;
use futures::StreamExt as _;

use super::link::{Link, header_map, header_pairs};
use crate::{
    Unavailable,
    permissions::ACROSS_ACCOUNTS,
    request::{HEADERS_MAX, Incoming, Reply, Request, RequestError, Requests, Respond},
};

/// Sent once: nobody knows whether an unanswered request was executed.
pub(super) async fn request(link: &Link, request: Request) -> Result<Reply, RequestError> {
    let Request {
        subject,
        headers,
        payload,
        timeout,
        apart: _,
    } = request;
    let unavailable = |error: String| Unavailable::new(format!("ask `{subject}`"), error);
    let headers = wire(&headers).ok_or_else(|| unavailable("a header cannot be sent".into()))?;
    let sent = BrokerRequest::new()
        .headers(headers)
        .payload(payload)
        .timeout(Some(timeout));
    let answer = link.client.send_request(subject.clone(), sent);
    let answer = tokio::select! {
        biased;
        answer = tokio::time::timeout(timeout, answer) => answer,
        () = link.gone() => return Err(RequestError::Ended { subject }),
    };
    match answer {
        Ok(Ok(message)) => Ok(Reply {
            headers: header_pairs(message.headers.as_ref()),
            payload: message.payload,
        }),
        Err(_) => Err(RequestError::Timeout { subject, timeout }),
        Ok(Err(error)) => match error.kind() {
            RequestErrorKind::TimedOut => Err(RequestError::Timeout { subject, timeout }),
            RequestErrorKind::NoResponders => Err(RequestError::NoResponders { subject }),
            RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other
                if link.is_gone() =>
            {
                Err(RequestError::Ended { subject })
            }
            RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other => Err(unavailable(error.to_string()).into()),
        },
    }
}

pub(super) async fn serve(
    link: &Link,
    subject: &str,
    queue: &str,
) -> Result<Box<dyn Requests>, Unavailable> {
    let subscriber = link
        .client
        .queue_subscribe(subject.to_owned(), queue.to_owned())
        .await
        .map_err(|error| Unavailable::new(format!("serve `{subject}`"), error))?;
    // So that a request sent after this returns finds it.
    let flushed = link.flush().await;
    flushed.map_err(|error| Unavailable::new(format!("serve `{subject}`"), error))?;
    Ok(Box::new(Served {
        client: link.client.clone(),
        subscriber,
    }))
}

/// Where answers go: across to the account of who asks, or to the inbox of who asks in this one.
const INBOXES: [&str; 2] = [ACROSS_ACCOUNTS, "_INBOX"];

struct Served {
    client: Client,
    subscriber: Subscriber,
}

#[async_trait]
impl Requests for Served {
    async fn drain(&mut self) {
        if let Err(error) = self.subscriber.drain().await {
            tracing::debug!(%error, "the connection is gone already");
        }
    }

    async fn next(&mut self) -> Option<Incoming> {
        let message = self.subscriber.next().await?;
        let too_many_headers = message
            .headers
            .as_ref()
            .is_some_and(|headers| headers.iter().nth(HEADERS_MAX).is_some());
        let headers = message.headers.as_ref().filter(|_| !too_many_headers);
        Some(Incoming {
            subject: message.subject.to_string(),
            headers: header_pairs(headers),
            too_many_headers,
            reply: message.reply.as_ref().map(ToString::to_string),
            payload: message.payload,
            responder: Box::new(Responder {
                client: self.client.clone(),
                reply: message.reply,
            }),
        })
    }
}

struct Responder {
    client: Client,
    reply: Option<Subject>,
}

#[async_trait]
impl Respond for Responder {
    async fn respond(self: Box<Self>, reply: Reply) -> Result<(), Unavailable> {
        let Some(to) = self.reply else {
            return Ok(());
        };
        let failed = |error: String| Unavailable::new("answer a request", error);
        // INVARIANT: who answers may publish what who asks may not, so the asker does not choose
        // where to: an answer below `controlPlane.` would be stored as an event.
        if !INBOXES.iter().any(|inbox| to.starts_with(inbox)) {
            return Err(failed(format!("`{to}` is no inbox")));
        }
        let headers =
            wire(&reply.headers).ok_or_else(|| failed("a header cannot be sent".into()))?;
        self.client
            .publish_with_headers(to, headers, reply.payload)
            .await
            .map_err(|error| failed(error.to_string()))
    }
}

fn wire(headers: &[(String, String)]) -> Option<async_nats::HeaderMap> {
    header_map(
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}
