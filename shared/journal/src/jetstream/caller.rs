//! A principal who asks for operations over NATS. It sees no stream.

use std::time::Duration;

use bytes::Bytes;
use contracts::ids::{PrincipalId, WorkspaceId};

use super::{BrokerTls, ConnectError, ConnectOptions, link::Link, open, serve};
use crate::{
    permissions::{CALLER_INBOX_PREFIX, caller_name, caller_subject},
    request::{Reply, Request, RequestError},
};

/// One principal's connection.
pub struct Caller {
    link: Link,
    workspace: WorkspaceId,
    principal: PrincipalId,
}

impl Caller {
    pub async fn connect(
        url: &str,
        workspace: &WorkspaceId,
        principal: &PrincipalId,
        password: &str,
    ) -> Result<Self, ConnectError> {
        Self::connect_over(url, BrokerTls::default(), workspace, principal, password).await
    }

    /// As [`Self::connect`], encrypted as `tls` says.
    pub async fn connect_over(
        url: &str,
        tls: BrokerTls,
        workspace: &WorkspaceId,
        principal: &PrincipalId,
        password: &str,
    ) -> Result<Self, ConnectError> {
        let user = caller_name(workspace, principal);
        let options = ConnectOptions {
            inbox_prefix: CALLER_INBOX_PREFIX.to_owned(),
            ..ConnectOptions::new(url, &user)
                .credentials(&user, password)
                .tls(tls)
        };
        Ok(Self {
            link: open(&options).await?,
            workspace: workspace.clone(),
            principal: principal.clone(),
        })
    }

    /// Asks for an operation, such as `intent.submit`.
    pub async fn ask(
        &self,
        operation: &str,
        headers: Vec<(String, String)>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Reply, RequestError> {
        let request = Request {
            subject: caller_subject(&self.workspace, &self.principal, operation),
            headers,
            payload,
            timeout,
            apart: false,
        };
        serve::request(&self.link, request).await
    }
}
