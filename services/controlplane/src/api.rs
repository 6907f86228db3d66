//! The operations, asked for with one credential: over HTTP, or over [`nats`].

mod nats;

use std::{error::Error, fs, time::Duration};

use contracts::{
    ids::{PrincipalId, WorkspaceId},
    registry::{Kind, OperationName},
};
use reqwest::{Certificate, ClientBuilder, Response, header};
use serde::{Serialize, de::DeserializeOwned};

use self::nats::Nats;
use crate::{
    context::{Context, Identity},
    failure::{Failure, Refusal},
};

/// What is asked with a token of which nothing else is known yet.
pub struct Bare {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Bare {
    pub async fn get<O: DeserializeOwned>(&self, path: &str) -> Result<O, Failure> {
        let url = format!("{}{path}", self.url);
        let request = self.http.get(&url).bearer_auth(&self.token);
        let response = request.timeout(ANSWER_WITHIN).send().await;
        let response = accepted(response.map_err(|error| unreachable_at(&url, error))?).await?;
        response.json().await.map_err(|error| {
            Failure::Other(
                anyhow::Error::new(error)
                    .context(format!("`{url}` gave an answer that cannot be read")),
            )
        })
    }
}

/// A command may wait 10 s for its outcome before it answers that it is pending.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How operations are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Over {
    #[default]
    Http,
    Nats,
}

/// One identity's way to commands and queries.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    commands: String,
    queries: String,
    token: String,
    nats: Option<Nats>,
    pub principal: PrincipalId,
    pub workspace: WorkspaceId,
}

impl Api {
    pub fn new(context: &Context, identity: &str, over: Over) -> Result<Self, Failure> {
        Self::of(context, context.identity(identity)?, over)
    }

    pub fn of(context: &Context, identity: &Identity, over: Over) -> Result<Self, Failure> {
        let nats = match over {
            Over::Http => None,
            Over::Nats => Some(Nats::new(context, identity)?),
        };
        let commands = &context.url;
        let queries = context.queries_url.as_ref().unwrap_or(commands);
        Ok(Self {
            http: client_for(context)?,
            commands: commands.trim_end_matches('/').to_owned(),
            queries: queries.trim_end_matches('/').to_owned(),
            token: identity.token.clone(),
            nats,
            principal: identity.id.clone(),
            workspace: context.workspace.clone(),
        })
    }

    pub fn bare(context: &Context, token: &str) -> Result<Bare, Failure> {
        Ok(Bare {
            http: client_for(context)?,
            url: context.url.clone(),
            token: token.to_owned(),
        })
    }

    /// Asks for an operation.
    pub async fn ask<O: DeserializeOwned>(
        &self,
        operation: OperationName,
        input: &impl Serialize,
    ) -> Result<O, Failure> {
        self.ask_once(operation, input, None).await
    }

    /// As [`Self::ask`], under an idempotency key: repeated, it is the same request.
    pub async fn ask_once<O: DeserializeOwned>(
        &self,
        operation: OperationName,
        input: &impl Serialize,
        key: Option<&str>,
    ) -> Result<O, Failure> {
        let entry = operation.entry();
        let name = entry.key.trim_start_matches("controlPlane.");
        if let Some(nats) = &self.nats {
            let input = serde_json::to_vec(input).map_err(anyhow::Error::new)?;
            let answer = nats.ask(name, input, key).await?;
            return serde_json::from_slice(&answer).map_err(|error| {
                Failure::Other(
                    anyhow::Error::new(error)
                        .context(format!("`{name}` gave an answer that cannot be read")),
                )
            });
        }
        let base = match entry.kind {
            Kind::Command => &self.commands,
            Kind::Query => &self.queries,
        };
        let url = format!("{base}/v1/{name}");
        let mut request = self
            .http
            .post(&url)
            .bearer_auth(&self.token)
            .timeout(ANSWER_WITHIN)
            .json(input);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreachable_at(&url, error))?;
        let response = accepted(response).await?;
        response.json().await.map_err(|error| {
            Failure::Other(
                anyhow::Error::new(error)
                    .context(format!("`{url}` gave an answer that cannot be read")),
            )
        })
    }

    /// Opens a live feed, from after `last` on.
    pub(crate) async fn open_feed(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> Result<Response, Failure> {
        let url = format!("{}{path}", self.queries);
        let mut request = self
            .http
            .get(&url)
            .bearer_auth(&self.token)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreachable_at(&url, error))?;
        accepted(response).await
    }
}

/// A client for a control plane of this machine. Nothing is encrypted there, and no certificates
/// are looked for: a machine may have none.
pub fn client() -> Result<reqwest::Client, Failure> {
    built(builder().tls_certs_only([]))
}

/// A client for the control plane of a context.
fn client_for(context: &Context) -> Result<reqwest::Client, Failure> {
    let mut urls = [&context.url].into_iter().chain(&context.queries_url);
    if !urls.any(|url| url.starts_with("https:")) {
        return client();
    }
    let Some(file) = &context.ca_file else {
        return built(builder());
    };
    let unusable = |why: String| {
        Failure::Usage(format!(
            "`caFile` of the context, `{}`, cannot be used: {why}",
            file.display()
        ))
    };
    let pem = fs::read(file).map_err(|error| unusable(error.to_string()))?;
    let authorities = Certificate::from_pem_bundle(&pem);
    let authorities = authorities.map_err(|error| unusable(root_of(&error)))?;
    if authorities.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    built(builder().tls_certs_only(authorities))
}

fn builder() -> ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

fn built(builder: ClientBuilder) -> Result<reqwest::Client, Failure> {
    builder
        .build()
        .map_err(|error| Failure::Other(anyhow::Error::new(error).context("cannot set up HTTP")))
}

async fn accepted(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().to_string();
    let body = response.bytes().await.unwrap_or_default();
    Err(Failure::Refused(Box::new(refusal(
        status.as_u16(),
        &url,
        &body,
    ))))
}

fn refusal(status: u16, url: &str, body: &[u8]) -> Refusal {
    serde_json::from_slice(body).unwrap_or_else(|_| Refusal {
        title: format!("`{url}` answered {status}"),
        status,
        detail: "the answer does not say why: is it a control plane that listens there?".to_owned(),
        code: "UNKNOWN".to_owned(),
        trace_id: None,
        findings: Vec::new(),
        position: None,
    })
}

fn unreachable_at(url: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_builder() {
        return Failure::Usage(format!(
            "the context does not say how to ask `{url}`: {}",
            root_of(&error)
        ));
    }
    let cause = root_of(&error);
    if error.is_connect() && url.starts_with("https:") {
        return Failure::unreachable(
            format!("cannot reach `{url}`"),
            format!(
                "{cause}\nis it up, and is `caFile` of the context the authority that vouches for \
                 it?"
            ),
        );
    }
    if error.is_connect() {
        return Failure::unreachable(
            format!("cannot reach `{url}`"),
            format!("{cause}\nis `controlplane up` running, and is this its context?"),
        );
    }
    let what = if error.is_timeout() {
        format!(
            "`{url}` gave no answer within {} s",
            ANSWER_WITHIN.as_secs()
        )
    } else {
        format!("the connection to `{url}` broke off")
    };
    Failure::unreachable(what, cause)
}

/// What is at the bottom of it: the layers between say nothing to an operator.
fn root_of(error: &reqwest::Error) -> String {
    let mut root: &dyn Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}
