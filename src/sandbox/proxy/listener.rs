//! The listening socket, which can be closed and opened again on command.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{ProxyError, Shared, connection};

/// Between two attempts to open the port again, or to accept when the process is out of file descriptors.
const RETRY: Duration = Duration::from_millis(20);

/// What the port is, or shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Open,
    Closed,
    /// Closed for good.
    Stopped,
}

/// The listening task of a proxy.
pub(super) struct Listening {
    address: SocketAddr,
    wanted: watch::Sender<Port>,
    actual: watch::Receiver<Port>,
    task: JoinHandle<()>,
}

impl Listening {
    pub(super) async fn start(shared: Arc<Shared>, bind: SocketAddr) -> Result<Self, ProxyError> {
        let failed = |source| ProxyError::Listen { address: bind, source };
        let listener = TcpListener::bind(bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (wanted, to_follow) = watch::channel(Port::Open);
        let (to_tell, actual) = watch::channel(Port::Open);
        let task = tokio::spawn(listen(shared, listener, address, to_follow, to_tell));
        Ok(Self { address, wanted, actual, task })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes or opens the port and waits until it is done.
    pub(super) async fn follow(&self, closed: bool) {
        self.reach(if closed { Port::Closed } else { Port::Open }).await;
    }

    /// Closes the port for good, ends every connection, and waits until it is done.
    pub(super) async fn stop(self) {
        self.reach(Port::Stopped).await;
    }

    async fn reach(&self, port: Port) {
        self.wanted.send_replace(port);
        let mut actual = self.actual.clone();
        // Fails only when the task has ended, and with it the port is closed for good.
        let _ = actual.wait_for(|is| *is == port).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    mut wanted: watch::Receiver<Port>,
    actual: watch::Sender<Port>,
) {
    let permits = Arc::new(Semaphore::new(shared.limits.connections));
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let port = *wanted.borrow_and_update();
        if port != Port::Open {
            listener = None;
            // What was accepted before the port closed ends as well: the proxy is down.
            connections.shutdown().await;
            actual.send_replace(port);
            if port == Port::Stopped || wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            match TcpListener::bind(address).await {
                Ok(again) => listener = Some(again),
                Err(error) => {
                    tracing::debug!(%error, %address, "sandbox proxy cannot listen again yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
            continue;
        };
        actual.send_replace(Port::Open);
        let accepted = tokio::select! {
            accepted = async { (Arc::clone(&permits).acquire_owned().await, open.accept().await) } => accepted,
            Some(_) = connections.join_next() => continue,
            changed = wanted.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let (Ok(permit), Ok((tcp, _))) = accepted else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (shared, limit) = (Arc::clone(&shared), shared.limits.connection_time);
        connections.spawn(async move {
            let _ = timeout(limit, connection::serve(shared, tcp, number)).await;
            drop(permit);
        });
    }
}
