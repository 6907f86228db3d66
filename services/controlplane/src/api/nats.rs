//! Operations asked for over NATS, as the broker's user of one principal.

use std::{fs, path::PathBuf, sync::Arc};

use contracts::ids::{PrincipalId, WorkspaceId};
use host::micro;
use journal::{
    jetstream::{BrokerTls, Caller},
    request::RequestError,
};
use tokio::sync::OnceCell;

use super::{ANSWER_WITHIN, refusal};
use crate::{
    context::{Context, Identity},
    failure::Failure,
};

/// Connects when it is first asked.
#[derive(Clone)]
pub struct Nats {
    url: String,
    tls: BrokerTls,
    workspace: WorkspaceId,
    principal: PrincipalId,
    password_file: PathBuf,
    caller: Arc<OnceCell<Caller>>,
}

impl Nats {
    pub fn new(context: &Context, identity: &Identity) -> Result<Self, Failure> {
        let broker = identity.broker.as_ref().ok_or_else(|| {
            Failure::Usage(format!(
                "the context has no broker user for `{}`: leave `--over nats` out",
                identity.id
            ))
        })?;
        Ok(Self {
            url: context.nats_url.clone(),
            tls: context.nats_tls.options()?,
            workspace: context.workspace.clone(),
            principal: identity.id.clone(),
            password_file: broker.password_file.clone(),
            caller: Arc::default(),
        })
    }

    /// The answer as it came, or the refusal.
    pub async fn ask(
        &self,
        operation: &str,
        input: Vec<u8>,
        key: Option<&str>,
    ) -> Result<Vec<u8>, Failure> {
        let headers = key.map(|key| ("Idempotency-Key".to_owned(), key.to_owned()));
        let caller = self.caller.get_or_try_init(|| self.connect()).await?;
        let asked = caller.ask(
            operation,
            headers.into_iter().collect(),
            input.into(),
            ANSWER_WITHIN,
        );
        let answer = asked.await.map_err(|error| self.unanswered(&error))?;
        let status = answer.header(micro::STATUS);
        match status.and_then(|status| status.parse().ok()) {
            Some(200..300) => Ok(answer.payload.into()),
            status => {
                let refusal = refusal(status.unwrap_or(500), &self.url, &answer.payload);
                Err(Failure::Refused(Box::new(refusal)))
            }
        }
    }

    async fn connect(&self) -> Result<Caller, Failure> {
        let password = fs::read_to_string(&self.password_file).map_err(|source| {
            Failure::unreachable(
                format!("cannot read `{}`", self.password_file.display()),
                source,
            )
        })?;
        Caller::connect_over(
            &self.url,
            self.tls.clone(),
            &self.workspace,
            &self.principal,
            password.trim_end(),
        )
        .await
        .map_err(|source| {
            Failure::unreachable(
                format!("cannot reach the broker at `{}`", self.url),
                host::engine::chain(&source),
            )
        })
    }

    fn unanswered(&self, error: &RequestError) -> Failure {
        let advice = match error {
            RequestError::NoResponders { .. } => {
                "\nis `controlplane up` running, and is this its context?"
            }
            RequestError::Timeout { .. }
            | RequestError::Ended { .. }
            | RequestError::Unavailable(_) => "",
        };
        Failure::unreachable(
            format!("no answer over `{}`", self.url),
            format!("{}{advice}", host::engine::chain(error)),
        )
    }
}
