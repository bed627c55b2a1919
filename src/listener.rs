//! Connections of every face: HTTP/1.1, with TLS where configured, bounded in number, in the time a head may take and in
//! the time a peer may not read.

mod authorities;
mod limits;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use authorities::{Authorities, ShownCertificate};
pub use limits::{Limits, Rate};

use crate::current::Current;

/// Who is at the other end of a connection, as an extension of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whence it came.
    pub address: SocketAddr,
    /// The certificate that it showed and that TLS accepted.
    pub certificate: Option<Arc<ShownCertificate>>,
}

/// What TLS is spoken with.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate and key, and whom it asks for one.
    pub server: Arc<ServerConfig>,
    /// Whose certificates clients may show; nobody is asked for one without them.
    pub clients: Option<Arc<Authorities>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("clients", &self.clients).finish_non_exhaustive()
    }
}

/// How connections are taken.
#[derive(Clone)]
pub struct Connections {
    /// At once; further ones wait in the system's queue.
    pub most: usize,
    /// For TLS and the head of a request, and for how long a peer may take nothing of an answer.
    pub head: Duration,
    /// TLS; without it plain HTTP is spoken. Whatever is current when a connection is taken holds for as long as it lives.
    pub tls: Option<Arc<Current<Tls>>>,
    /// How long requests may go on when it ends.
    pub grace: Duration,
}

/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 32 * 1024;

/// Takes connections until `stop`, then lets requests end within the grace period; says whether all did.
pub async fn serve(listener: TcpListener, router: Router, connections: Connections, stop: CancellationToken) -> bool {
    let places = Arc::new(Semaphore::new(connections.most.max(1)));
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accept = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?, place))
        };
        let ((stream, address), place) = match stop.run_until_cancelled(accept).await {
            None => break,
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                // No file handles, most of the time: waiting is all that helps.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let tls = connections.tls.as_ref().map(|tls| tls.get());
        let (router, stop, cut, head) = (router.clone(), stop.clone(), cut.clone(), connections.head);
        tasks.spawn(async move {
            let _place = place;
            cut.run_until_cancelled(connection(stream, address, tls, router, head, stop)).await
        });
    }
    drop(listener);
    tasks.close();
    let ended = tokio::time::timeout(connections.grace, tasks.wait()).await.is_ok();
    cut.cancel();
    tasks.wait().await;
    ended
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    router: Router,
    head: Duration,
    stop: CancellationToken,
) {
    // Answers are small and somebody waits for them.
    let _ = stream.set_nodelay(true);
    match tls {
        None => exchange(stream, Peer { address, certificate: None }, router, head, stop).await,
        Some(tls) => {
            match tokio::time::timeout(head, TlsAcceptor::from(Arc::clone(&tls.server)).accept(stream)).await {
                Ok(Ok(stream)) => {
                    let shown = ShownCertificate::read(stream.get_ref().1.peer_certificates(), tls.clients.as_ref());
                    let certificate = shown.map(Arc::new);
                    exchange(stream, Peer { address, certificate }, router, head, stop).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => tracing::debug!("TLS handshake took too long"),
            }
        }
    }
}

async fn exchange<S>(stream: S, peer: Peer, router: Router, head: Duration, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(LARGEST_HEAD);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.call(request)
    });
    // A peer that never reads would hold its place for ever: hyper waits for it without a bound.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(head));
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
