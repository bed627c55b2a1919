//! A TCP relay that can stop carrying, as a network does that swallows packets: connections stay open, nothing arrives.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Relay {
    port: u16,
    held: Arc<watch::Sender<bool>>,
}

impl Relay {
    /// To a port on this machine.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::new(watch::channel(false).0);
        let state = Arc::clone(&held);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let held = state.subscribe();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let there = carry(from_client, to_server, held.clone());
                    tokio::join!(there, carry(from_server, to_client, held));
                });
            }
        });
        Self { port, held }
    }

    /// The URL with the relay's port in it.
    pub(crate) fn url(&self, url: &str) -> String {
        let (start, rest) = url.rsplit_once(':').unwrap();
        let (_, database) = rest.split_once('/').unwrap();
        format!("{start}:{}/{database}", self.port)
    }

    /// Carries nothing any more.
    pub(crate) fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Carries again, what was held back first.
    pub(crate) fn let_go(&self) {
        self.held.send_replace(false);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut bytes).await {
        if held.wait_for(|held| !held).await.is_err() || read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
