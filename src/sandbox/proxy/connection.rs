//! One connection, from accept to close.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Shared,
    board::Acting,
    reply::{self, Act, Reply},
    service::{self, Received, Route},
    tls,
};
use crate::sandbox::fault::{Fault, Layer};

/// No request of this API comes near this (4300 and 8192 bytes in base64, ARNs of 2048 characters).
const LONGEST_BODY: usize = 64 * 1024;

/// Ten minutes: what the faults `clock-ahead` and `clock-behind` put the clock off by.
const CLOCK_FAULT: Duration = Duration::from_mins(10);

/// Serves a connection until it ends; errors are the client's business or were asked for.
pub(super) async fn serve(shared: Arc<Shared>, mut tcp: TcpStream, number: u64) {
    // A delayed acknowledgement against Nagle's algorithm would add 40 ms that nobody asked for.
    let _ = tcp.set_nodelay(true);
    let acting = shared.board.on_connection();
    wait(acting.delay()).await;
    if let Some(fault) = acting.in_layer(Layer::Connection) {
        return without_tls(&mut tcp, fault).await;
    }
    let config = shared.tls.config(acting.in_layer(Layer::Tls), acting.in_layer(Layer::Certificate));
    let config = match config {
        Ok(config) => config,
        Err(error) => return tracing::error!(%error, "sandbox proxy cannot configure TLS"),
    };
    match TlsAcceptor::from(config).accept(tcp).await {
        Ok(stream) if acting.has(Fault::AlpnRequired) && stream.get_ref().1.alpn_protocol().is_none() => {}
        Ok(stream) => serve_http(shared, stream, number).await,
        Err(error) => tracing::debug!(%error, "sandbox proxy's handshake failed"),
    }
}

async fn without_tls(tcp: &mut TcpStream, fault: Fault) {
    let outcome = match fault {
        Fault::CloseOnAccept => close(tcp).await,
        Fault::ResetOnAccept => tcp.set_zero_linger(),
        _ => answer_hello(tcp, fault).await,
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, %fault, "sandbox proxy's client went first");
    }
}

/// Closes at once, and stays until the client has gone: with its ClientHello unread, the kernel would reset instead.
async fn close(tcp: &mut TcpStream) -> io::Result<()> {
    tcp.shutdown().await?;
    let mut rest = [0_u8; 4096];
    while tcp.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Reads the ClientHello (or what there is of it) so that closing does not reset, then sends the fault's bytes.
async fn answer_hello(tcp: &mut TcpStream, fault: Fault) -> io::Result<()> {
    let mut hello = [0_u8; 4096];
    if fault == Fault::NotTls {
        // A greeting protocol does not wait for the client.
        tcp.write_all(&tls::instead_of_handshake(fault, &[]).unwrap_or_default()).await?;
    }
    let read = tcp.read(&mut hello).await?;
    if read == 0 {
        return Ok(());
    }
    let answer = tls::instead_of_handshake(fault, &hello[..read]);
    if let Some(answer) = answer.as_ref().filter(|_| fault != Fault::NotTls) {
        tcp.write_all(answer).await?;
    }
    let waits = match fault {
        Fault::TlsStall | Fault::TlsStallMidHandshake => true,
        // After a ServerHello, a server waits for its client; after half of one, this one has gone.
        _ => fault != Fault::TlsCloseMidHandshake && answer.is_some_and(|bytes| bytes.first() == Some(&22)),
    };
    if waits {
        while tcp.read(&mut hello).await? > 0 {}
    }
    tcp.shutdown().await
}

async fn serve_http(shared: Arc<Shared>, stream: TlsStream<TcpStream>, number: u64) {
    let raw: Mutex<Option<Vec<Act>>> = Mutex::default();
    let service = service_fn(|request| {
        let (shared, raw) = (&shared, &raw);
        // Boxed because hyper lets go of a connection only if the service's future can be moved.
        Box::pin(async move {
            match respond(shared, request, number).await {
                Reply::Http(response) => Ok(response),
                Reply::Raw(acts) => {
                    *raw.lock().unwrap_or_else(PoisonError::into_inner) = Some(acts);
                    Err(TakeOver)
                }
            }
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.connection_time)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    let acts = raw.lock().unwrap_or_else(PoisonError::into_inner).take();
    let outcome = match acts {
        Some(acts) => perform(&mut stream, acts).await,
        None => stream.shutdown().await,
    };
    tracing::trace!(?ended, ?outcome, "sandbox proxy's connection ended");
}

async fn respond(shared: &Shared, request: Request<Incoming>, connection: u64) -> Reply {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, LONGEST_BODY).collect().await {
        Ok(collected) => Some(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => None,
        // The client broke off: nobody is left to answer.
        Err(_) => return Reply::Raw(Vec::new()),
    };
    let route = Route::find(&shared.uri_path, parts.uri.path());
    let acting = shared.board.on_request(route.as_ref().map(|route| route.operation));
    let now = proxy_time(shared, &acting);
    let received = Received { parts: &parts, body: body.as_deref(), route: route.as_ref(), now, connection };
    let (answer, authenticated) = service::answer(shared, &received, &acting);
    let latency = *shared.latency.read().unwrap_or_else(PoisonError::into_inner);
    wait(latency + acting.delay()).await;
    reply::compose(&answer, authenticated, &acting, now)
}

fn proxy_time(shared: &Shared, acting: &Acting) -> std::time::SystemTime {
    let now = (shared.clock)();
    match (acting.has(Fault::ClockAhead), acting.has(Fault::ClockBehind)) {
        (true, false) => now + CLOCK_FAULT,
        (false, true) => now - CLOCK_FAULT,
        _ => now,
    }
}

async fn perform(stream: &mut TlsStream<TcpStream>, acts: Vec<Act>) -> io::Result<()> {
    for act in acts {
        match act {
            Act::Send(bytes) => send(stream, &bytes).await?,
            Act::Repeat { bytes, times, pause } => {
                let mut sent = 0;
                while times.is_none_or(|times| sent < times) {
                    send(stream, &bytes).await?;
                    wait(pause).await;
                    sent += 1;
                }
            }
            Act::Drip { bytes, pause } => {
                for byte in bytes.chunks(1) {
                    send(stream, byte).await?;
                    wait(pause).await;
                }
            }
            Act::Stall => {
                let mut discarded = [0_u8; 1024];
                while stream.read(&mut discarded).await? > 0 {}
            }
            Act::Reset => return stream.get_ref().0.set_zero_linger(),
        }
    }
    stream.shutdown().await
}

/// Sleeps, but not for no time at all: the timer's granularity would make a millisecond of it.
async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Makes hyper let go of a connection without answering.
#[derive(Debug, thiserror::Error)]
#[error("the answer is sent outside HTTP")]
struct TakeOver;
