//! The connection on which others are asked, apart from the one that the log uses.
//!
//! INVARIANT: what somebody answers can break a client that cannot read it (a header with a lone
//! carriage return does), and the log must not end with it. This connection is made when it is
//! first needed, and anew when it has ended. What was asked on it meanwhile can be asked again apart,
//! where nobody else's answer comes.

use tokio::sync::Mutex;

use super::{ConnectOptions, link::Link, serve};
use crate::{
    Unavailable,
    request::{Reply, Request, RequestError},
};

pub(super) struct Outside {
    options: ConnectOptions,
    link: Mutex<Option<Link>>,
}

impl Outside {
    pub fn of(options: &ConnectOptions) -> Self {
        Self {
            options: ConnectOptions {
                name: format!("{}-requests", options.name),
                ..options.clone()
            },
            link: Mutex::default(),
        }
    }

    pub async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        if request.apart {
            let link = self.open().await?;
            let answer = serve::request(&link, request).await;
            link.close().await;
            return answer;
        }
        let link = self.link().await?;
        serve::request(&link, request).await
    }

    pub async fn close(&self) {
        if let Some(link) = self.link.lock().await.take() {
            link.close().await;
        }
    }

    async fn link(&self) -> Result<Link, Unavailable> {
        let mut current = self.link.lock().await;
        if let Some(link) = current.as_ref().filter(|link| !link.is_gone()) {
            return Ok(link.clone());
        }
        if current.is_some() {
            tracing::error!("an answer broke the connection for requests; it is made anew");
        }
        Ok(current.insert(self.open().await?).clone())
    }

    async fn open(&self) -> Result<Link, Unavailable> {
        let link = Link::open(&self.options).await;
        link.map_err(|error| Unavailable::new("connect for requests", error))
    }
}
