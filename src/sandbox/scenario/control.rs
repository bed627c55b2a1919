//! Lets the reader of the story act as the proxies' operator, and spoil it: credentials removed and faults set with curl.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, put};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Actor;
use crate::sandbox::fault::{Fault, Misbehaviour};

/// The most that a request may set, in bytes; a misbehaviour takes some 40.
const LARGEST: usize = 4_096;

type Actors = Arc<Vec<Actor>>;

/// A listener on loopback. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) address: SocketAddr,
    _stop: DropGuard,
}

impl Control {
    pub(super) async fn start(port: u16, actors: Actors) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/proxies", get(proxies))
            .route("/proxies/{name}", put(spoil))
            .route("/proxies/{name}/credentials/{id}", delete(forget))
            .route("/faults", get(faults))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(actors);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the sandbox's control has ended");
            }
        });
        Ok(Self { address, _stop: stop.drop_guard() })
    }
}

/// Every proxy with what it does wrong now.
async fn proxies(State(actors): State<Actors>) -> String {
    actors.iter().map(state).collect()
}

/// Every fault there is.
async fn faults() -> String {
    let mut text = String::new();
    for fault in Fault::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{fault:<44} {}", fault.description());
    }
    text
}

/// Replaces the faults of a proxy by those in the body, separated by white space; an empty body makes it well.
async fn spoil(
    State(actors): State<Actors>,
    Path(name): Path<String>,
    body: String,
) -> Result<String, (StatusCode, String)> {
    let actor = named(&actors, &name)?;
    let told: Result<Vec<Misbehaviour>, _> = body.split_whitespace().map(str::parse).collect();
    let told = told.map_err(|error| {
        let error = crate::chain::Chain(&error);
        (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}; GET /faults lists all\n"))
    })?;
    actor.proxy.set_faults(told).await;
    Ok(state(actor))
}

/// Makes a proxy refuse a credential that it has accepted.
async fn forget(
    State(actors): State<Actors>,
    Path((name, access_key_id)): Path<(String, String)>,
) -> Result<String, (StatusCode, String)> {
    if named(&actors, &name)?.proxy.remove_credential(&access_key_id) {
        Ok(format!("{name:<16} refuses {access_key_id} from now on\n"))
    } else {
        Err((StatusCode::NOT_FOUND, format!("{name} does not accept {access_key_id} anyway\n")))
    }
}

fn named<'a>(actors: &'a Actors, name: &str) -> Result<&'a Actor, (StatusCode, String)> {
    actors.iter().find(|actor| actor.name == name).ok_or_else(|| {
        let names: Vec<&str> = actors.iter().map(|actor| actor.name).collect();
        (StatusCode::NOT_FOUND, format!("there is no proxy {name}; there are {}\n", names.join(", ")))
    })
}

fn state(actor: &Actor) -> String {
    let faults: Vec<String> = actor.proxy.faults().iter().map(|set| set.fault.to_string()).collect();
    let faults = if faults.is_empty() { "well".to_owned() } else { faults.join(" ") };
    format!("{:<16} {faults}\n", actor.name)
}
