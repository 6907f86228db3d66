//! The connections of a service: bounded in number, and in how long they may keep silent. Who
//! greets or sends a head byte by byte, or does not read what was answered, is let go.

use std::{
    future::Future as _,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::tls::Tls;

/// Of a request's head, and of what is buffered of an answer: ample for tokens and queries.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long to wait where no more files can be opened.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once; others wait to be accepted.
    pub connections_max: usize,
    /// From when it is accepted to the end of the greetings, where connections are encrypted.
    pub handshake_within: Duration,
    /// From its first byte, or the end of the request before, to the end of a request's head. A
    /// connection that is not used is closed after as long.
    pub head_within: Duration,
    /// How long the caller may read nothing of what is written to it.
    pub unread_within: Duration,
    /// How long requests may take that are under way when the service stops.
    pub drain_within: Duration,
}

impl Default for Bounds {
    /// As many connections as feeds and requests together can use, below the 1,024 files that a
    /// process may usually open; heads of a few kilobytes come in one packet, so the times leave
    /// room for the worst of networks; a stop takes no longer than others wait for it.
    fn default() -> Self {
        Self {
            connections_max: 960,
            handshake_within: Duration::from_secs(10),
            head_within: Duration::from_secs(20),
            unread_within: Duration::from_secs(30),
            drain_within: Duration::from_secs(2),
        }
    }
}

/// Serves until `shutdown`, then for as long as what is under way may take.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    routes: Router,
    shutdown: CancellationToken,
    bounds: Bounds,
) {
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            // Those that have ended are forgotten as they end.
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_caller(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::select! {
                    () = sleep(ACCEPT_AGAIN_AFTER) => continue,
                    () = shutdown.cancelled() => break,
                }
            }
        };
        // An answer is one write; nothing is gained by waiting for more of it.
        let _ = stream.set_nodelay(true);
        let (routes, shutdown, tls) = (routes.clone(), shutdown.clone(), tls.clone());
        connections.spawn(async move {
            let stream = Impatient::new(stream, bounds.unread_within);
            match tls {
                None => converse(stream, routes, shutdown, bounds).await,
                Some(tls) => {
                    if let Some(stream) = greeted(stream, &tls, &shutdown, bounds).await {
                        converse(stream, routes, shutdown, bounds).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(bounds.drain_within, ended).await.is_err() {
        tracing::info!("requests are given up that have not ended in time");
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, Place)> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn is_of_the_caller(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// The encrypted stream, if the caller comes to terms in time.
async fn greeted(
    stream: Impatient,
    tls: &Tls,
    shutdown: &CancellationToken,
    bounds: Bounds,
) -> Option<TlsStream<Impatient>> {
    let greeting = timeout(bounds.handshake_within, tls.accept(stream));
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        // Nothing was asked yet.
        () = shutdown.cancelled() => return None,
    };
    match greeted {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not encrypted");
            None
        }
        Err(_) => {
            tracing::debug!("a connection was not encrypted in time");
            None
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    routes: Router,
    shutdown: CancellationToken,
    bounds: Bounds,
) {
    let stream = TokioIo::new(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_within)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(stream, TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(
            reason = crate::engine::chain(&error),
            "a connection broke off"
        );
    }
}

/// A stream on which a write that gets nowhere is an error after a while.
struct Impatient {
    stream: TcpStream,
    unread_within: Duration,
    /// Since a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, unread_within: Duration) -> Self {
        Self {
            stream,
            unread_within,
            patience: None,
        }
    }

    fn poll_patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = attempt(Pin::new(&mut self.stream), cx) {
            self.patience = None;
            return Poll::Ready(done);
        }
        let until = Instant::now() + self.unread_within;
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(patience.as_mut().poll(cx));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the caller does not read");
        Poll::Ready(Err(error))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_patiently(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_patiently(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_patiently(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_patiently(cx, AsyncWrite::poll_shutdown)
    }
}
