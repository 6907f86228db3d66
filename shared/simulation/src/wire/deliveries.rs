//! Messages on their way to a process, and its acknowledgements on their way back.

use std::sync::Arc;

use async_trait::async_trait;
use journal::{
    Unavailable,
    delivery::{Acknowledge, Deliveries, Delivery, Handle, Unanswered},
    stored::Entry,
    tail::Tail,
};
use tokio::time::{Duration, sleep_until};

use super::{Call, Line};

pub(super) struct Consumed {
    inner: Box<dyn Deliveries>,
    line: Arc<Line>,
    /// Come, and not yet handed out: a process that is paused meanwhile finds it afterwards.
    waiting: Option<Delivery>,
}

impl Consumed {
    pub fn new(inner: Box<dyn Deliveries>, line: Arc<Line>) -> Self {
        Self {
            inner,
            line,
            waiting: None,
        }
    }
}

#[async_trait]
impl Deliveries for Consumed {
    async fn next(&mut self) -> Delivery {
        if self.waiting.is_none() {
            self.line.awake().await;
            while self.line.sea.is_out() {
                sleep_until(self.line.sea.outage_until()).await;
            }
            self.waiting = Some(self.inner.next().await);
        }
        self.line.awake().await;
        match self.waiting.take() {
            Some(delivery) => {
                self.line.heard(&delivery.message);
                Delivery {
                    handle: Arc::new(Answering {
                        inner: Arc::clone(&delivery.handle),
                        line: Arc::clone(&self.line),
                    }),
                    ..delivery
                }
            }
            None => std::future::pending().await,
        }
    }

    fn unanswered(&self) -> Unanswered {
        self.inner.unanswered()
    }

    async fn stop(self: Box<Self>) -> Result<(), Unavailable> {
        let number = self.line.out(Call::Other).await;
        let stopped = self.inner.stop().await;
        self.line.back(Call::Other, number).await;
        stopped
    }
}

struct Answering {
    inner: Handle,
    line: Arc<Line>,
}

#[async_trait]
impl Acknowledge for Answering {
    async fn ack(&self) -> Result<(), Unavailable> {
        self.line.out(Call::Ack).await;
        if self.line.loses_ack() {
            return Ok(());
        }
        self.inner.ack().await
    }

    async fn in_progress(&self) -> Result<(), Unavailable> {
        self.line.out(Call::Other).await;
        self.line.reached("say that it is worked on")?;
        self.inner.in_progress().await
    }

    fn release(&self) {
        self.inner.release();
    }

    async fn retry_later(&self, delay: Duration) -> Result<(), Unavailable> {
        self.line.out(Call::Other).await;
        if self.line.loses_ack() {
            return Ok(());
        }
        self.inner.retry_later(delay).await
    }
}

pub(super) struct Followed {
    inner: Box<dyn Tail>,
    line: Arc<Line>,
}

impl Followed {
    pub fn new(inner: Box<dyn Tail>, line: Arc<Line>) -> Self {
        Self { inner, line }
    }
}

#[async_trait]
impl Tail for Followed {
    async fn next(&mut self) -> Entry {
        self.line.awake().await;
        self.inner.next().await
    }

    async fn next_batch(&mut self, max: usize) -> Vec<Entry> {
        self.line.awake().await;
        self.inner.next_batch(max).await
    }
}
