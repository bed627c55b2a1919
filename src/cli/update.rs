//! `xks-preflight update`: asks a running daemon to change a key store, and follows the change.
//!
//! The daemon does all the work; this is a client of its HTTP API. [`server`] tells which daemon, [`request`] what to
//! change, [`client`] calls, [`follow`] reads the update's events ([`sse`]) until it has ended, [`words`] tells each on
//! standard error, [`result`] makes of the end a text and an exit code. If this process dies, the update goes on.

mod approve;
mod client;
mod fetch;
mod follow;
mod request;
mod result;
mod server;
mod sse;
#[cfg(test)]
mod tests;
mod words;

use std::ffi::OsStr;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

pub use self::approve::Approve;
use self::client::{Call, CallError, Client, Patience};
pub(super) use self::fetch::{NotFetched, fetch, send};
use self::follow::{Follower, News};
pub use self::request::ChangeOptions;
use self::result::Purpose;
use self::server::Server;
pub(super) use self::server::ServerOptions;
pub(super) use self::words::{clean, text};
use super::{Exit, Usage, print};
use crate::chain::Chain;
use crate::id::UpdateId;

/// What to do.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  xks-preflight update apply --key-store cks-1234567890abcdef0 \\\n      \
    --endpoint https://xks2.example.com --acknowledge-outage --wait")]
pub enum Command {
    /// Show what an update would do, and pre-flight it; changes nothing.
    #[command(after_help = "Example:\n  xks-preflight update plan --key-store cks-1234567890abcdef0 \\\n      \
        --endpoint https://xks2.example.com\n\n\
        Exit codes: 0 would be done, 1 blocked, 2 usage, 3 inconclusive, 4 refused.")]
    Plan {
        /// What to change.
        #[command(flatten)]
        change: ChangeOptions,
        /// Where.
        #[command(flatten)]
        face: Face,
    },
    /// Pre-flight an update and carry it out if it passes.
    #[command(after_help = "Examples:\n  xks-preflight update apply --key-store cks-1234567890abcdef0 \\\n      \
        --proxy-config proxy.json --wait\n  \
        xks-preflight update apply --key-store cks-1234567890abcdef0 \\\n      \
        --endpoint https://xks2.example.com --acknowledge-outage --idempotency-key change-4711\n  \
        xks-preflight update apply --key-store cks-1234567890abcdef0 \\\n      \
        --proxy-config next.json --rotate --wait\n\n\
        Exit codes: 0 done (without --wait: begun), 1 blocked or failed, 2 usage, 3 inconclusive, or a rotation that \
        waits for you to remove the former credential, 4 refused, 5 stuck or unknown.")]
    Apply {
        /// What to change.
        #[command(flatten)]
        change: ChangeOptions,
        /// Repeating the command with the same key finds the same update; by default a random one.
        #[arg(long, env = "XKS_PREFLIGHT_IDEMPOTENCY_KEY", value_name = "KEY")]
        idempotency_key: Option<String>,
        /// How long.
        #[command(flatten)]
        waiting: Waiting,
        /// Where.
        #[command(flatten)]
        face: Face,
    },
    /// Agree to an update that somebody else asked for.
    #[command(after_help = "Examples:\n  xks-preflight update approve update-0193...\n  \
        xks-preflight update approve update-0193... --digest 5a3f... --acknowledge-outage --wait\n\n\
        Exit codes: 0 agreed (with --wait: done), 1 blocked or failed, 2 usage, 4 refused: one's own update, another \
        digest, expired, frozen.")]
    Approve(Approve),
    /// Show an update.
    #[command(after_help = "Example:\n  xks-preflight update status update-0193... --wait")]
    Status(Order),
    /// Stop an update that has changed nothing yet.
    #[command(after_help = "Examples:\n  xks-preflight update cancel update-0193...\n  \
        xks-preflight update cancel update-0193... --if-match 7\n\n\
        Without --if-match it is stopped whatever has happened since it was looked at, unless it has begun.")]
    Cancel(Ordered),
    /// Tell that the former credential of a rotation is removed at every proxy: whether it is refused is proven then.
    #[command(after_help = "Example:\n  xks-preflight update removed update-0193... --wait\n\n\
        Exit codes: 0 proven refused (without --wait: being tried), 2 usage, 3 still accepted somewhere, or not to be \
        told, 4 refused: not to be removed yet, 5 stuck or unknown.")]
    Removed(Ordered),
    /// Take an update that has begun back to the former settings.
    #[command(after_help = "Examples:\n  xks-preflight update rollback update-0193... --wait\n  \
        xks-preflight update rollback update-0193... --if-match 12\n\n\
        Without --if-match it is taken back whatever has happened since it was looked at, unless it is over.")]
    Rollback(Ordered),
}

/// An update that exists.
#[derive(Debug, Args)]
pub struct Order {
    /// The update's id.
    #[arg(value_name = "UPDATE")]
    id: String,
    /// How long.
    #[command(flatten)]
    waiting: Waiting,
    /// Where.
    #[command(flatten)]
    face: Face,
}

/// An order to an update.
#[derive(Debug, Args)]
pub struct Ordered {
    /// Which.
    #[command(flatten)]
    order: Order,
    /// Under which condition.
    #[command(flatten)]
    condition: Condition,
}

/// What of an update must have been seen. An update under way moves on all the time, and whoever must stop it has no
/// time to look again: nothing is taken for granted unless it is asked for.
#[derive(Clone, Copy, Debug, Args)]
pub struct Condition {
    /// Only if nothing has happened to the update since this event, which is the number in its ETag and the last event
    /// that status shows.
    #[arg(long, env = "XKS_PREFLIGHT_IF_MATCH", value_name = "EVENT", value_parser = event_number)]
    if_match: Option<u64>,
}

/// Whether to stay.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Following")]
pub struct Waiting {
    /// Follow the update to its end, or of a rotation until you must remove the former credential, and tell on standard
    /// error what happens.
    #[arg(long, env = "XKS_PREFLIGHT_WAIT")]
    wait: bool,
}

/// Whom to talk to, and how to show the result.
#[derive(Debug, Args)]
pub struct Face {
    /// Which daemon.
    #[command(flatten)]
    pub(super) server: ServerOptions,
    /// The form of the result.
    #[arg(long, env = "XKS_PREFLIGHT_OUTPUT", help_heading = None, value_enum, default_value_t)]
    pub(super) output: Output,
}

/// The form of the result.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// The daemon's own answer.
    Json,
}

/// What a command leaves behind.
#[derive(Debug)]
struct Outcome {
    text: String,
    json: Value,
    exit: Exit,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Usage(#[from] Usage),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("not approved")]
    Declined,
    #[error("{id} does not wait for approval: it is {status}")]
    NotAwaited { id: String, status: String },
    #[error(
        "it is not known whether the daemon has taken the update; the same command with --idempotency-key {key} finds \
         it, or makes it"
    )]
    Unanswered {
        key: String,
        #[source]
        source: CallError,
    },
    #[error("it is not known how {id} goes on; see: xks-preflight update status {id}")]
    Unknown {
        id: String,
        #[source]
        source: CallError,
    },
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Call(error) => error.exit(),
            Self::Declined | Self::NotAwaited { .. } => Exit::Refused,
            Self::Unanswered { .. } | Self::Unknown { .. } => Exit::Stuck,
        }
    }
}

/// Does it, prints the result.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let face = match command {
        Command::Plan { face, .. } | Command::Apply { face, .. } => face,
        Command::Approve(approve) => &approve.order.face,
        Command::Status(order) => &order.face,
        Command::Cancel(ordered) | Command::Removed(ordered) | Command::Rollback(ordered) => &ordered.order.face,
    };
    if let Command::Plan { .. } | Command::Apply { .. } = command {
        let arguments: Vec<_> = std::env::args_os().collect();
        let set = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        for note in request::from_environment(&arguments, set) {
            let _ = writeln!(std::io::stderr(), "note: {note}");
        }
    }
    let client = Client { server: Server::from_options(&face.server)?, patience: Patience::default() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; the system refuses resources")?;
    let done = runtime.block_on(carry_out(&client, command, &mut |line| {
        let _ = writeln!(std::io::stderr(), "{line}");
    }));
    match done {
        Ok(outcome) => {
            match face.output {
                Output::Text => print(&outcome.text)?,
                Output::Json => print(&format!("{:#}\n", outcome.json))?,
            }
            Ok(outcome.exit)
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "error: {}", Chain(&failure));
            Ok(failure.exit())
        }
    }
}

async fn carry_out(client: &Client, command: &Command, tell: &mut dyn FnMut(&str)) -> Result<Outcome, Failure> {
    match command {
        Command::Plan { change, .. } => plan(client, change).await,
        Command::Apply { change, idempotency_key, waiting, .. } => {
            let key = idempotency_key.clone().map_or_else(random_key, Ok)?;
            let shown = submit(client, change, &key).await?;
            let id = text(&shown, "/id").to_owned();
            tell(&format!("{id} is taken; it goes on whether or not anybody waits"));
            conclude(client, shown, Purpose::Change, *waiting, tell).await
        }
        Command::Approve(given) => {
            let shown = approve::approve(client, given).await?;
            conclude(client, shown, Purpose::Change, given.order.waiting, tell).await
        }
        Command::Status(order) => {
            let id = known_form(&order.id)?;
            let shown = follow::update(client, &id).await?;
            conclude(client, shown, Purpose::Change, order.waiting, tell).await
        }
        Command::Cancel(ordered) => {
            let shown = give_order(client, ordered, "cancel").await?;
            let shown = if ordered.order.waiting.wait { shown } else { at_its_end(client, shown).await };
            conclude(client, shown, Purpose::Cancel, ordered.order.waiting, tell).await
        }
        Command::Removed(ordered) => {
            let shown = give_order(client, ordered, "removed").await?;
            conclude(client, shown, Purpose::Change, ordered.order.waiting, tell).await
        }
        Command::Rollback(ordered) => {
            let shown = give_order(client, ordered, "rollback").await?;
            conclude(client, shown, Purpose::Rollback, ordered.order.waiting, tell).await
        }
    }
}

async fn plan(client: &Client, change: &ChangeOptions) -> Result<Outcome, Failure> {
    let body = Some(request::body(change, true, &client.server)?);
    let answer = client.call(Call { body, ..Call::post("/v1/updates") }).await?;
    if answer.get("plan").is_none() {
        return Err(client.foreign("it is no plan").into());
    }
    let exit = result::plan_exit(&answer);
    Ok(Outcome { text: result::dry_run(&answer, &client.server.url), json: answer, exit })
}

async fn submit(client: &Client, change: &ChangeOptions, key: &str) -> Result<Value, Failure> {
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Usage("--idempotency-key: must be 1 to 255 visible ASCII characters".to_owned()).into());
    }
    let body = Some(request::body(change, false, &client.server)?);
    let header = Some(("idempotency-key", key.to_owned()));
    let answer = client.call(Call { header, body, ..Call::post("/v1/updates") }).await;
    let answer = answer.and_then(|shown| match UpdateId::parse(text(&shown, "/id")) {
        Ok(_) => Ok(shown),
        Err(_) => Err(client.foreign("it is no update")),
    });
    answer.map_err(|source| {
        let unanswered = source.may_have_worked();
        if unanswered { Failure::Unanswered { key: key.to_owned(), source } } else { source.into() }
    })
}

async fn give_order(client: &Client, ordered: &Ordered, name: &str) -> Result<Value, Failure> {
    let id = known_form(&ordered.order.id)?;
    client
        .call(Call::post(&format!("/v1/updates/{id}/{name}")).if_match(ordered.condition.if_match))
        .await
        .map_err(|source| if source.may_have_worked() { Failure::Unknown { id, source } } else { source.into() })
}

/// What is shown once an update that was cancelled has ended, which takes the driver a moment: who cancels one that waits
/// for approval is not to be told that somebody must approve it. After a few looks, what is shown then.
async fn at_its_end(client: &Client, mut shown: Value) -> Value {
    for _ in 0..20 {
        if words::ended(text(&shown, "/status")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Ok(seen) = follow::update(client, text(&shown, "/id")).await else { break };
        shown = seen;
    }
    shown
}

/// Waits if asked to, and makes of what is shown in the end the outcome.
async fn conclude(
    client: &Client,
    shown: Value,
    purpose: Purpose,
    waiting: Waiting,
    tell: &mut dyn FnMut(&str),
) -> Result<Outcome, Failure> {
    let id = text(&shown, "/id").to_owned();
    let mut verdict = None;
    let mut note = |event: &Value, tell: &mut dyn FnMut(&str)| {
        if text(event, "/event") == "preflight_finished" {
            verdict = Some(text(event, "/summary/verdict").to_owned());
        }
        tell(&words::progress(event));
        if text(event, "/event") == "approval_requested" {
            tell(&format!("who approves asks for the plan and agrees to it with: xks-preflight update approve {id}"));
        }
    };
    let seen = shown.get("last_event").and_then(Value::as_u64).unwrap_or(0);
    let is_for_person = |shown: &Value| purpose == Purpose::Change && words::awaits_removal(shown);
    let mut events = Follower::new(client, &id);
    if purpose == Purpose::Change {
        events = events.until_person(seen);
    }
    let shown = if waiting.wait && !is_for_person(&shown) {
        let ended = events
            .follow(&mut |news| match news {
                News::Event(event) => note(event, tell),
                News::Away(error) => tell(&format!(
                    "the daemon does not answer ({}); trying again. What it has begun it sees through when it is back; \
                     should this command give up: xks-preflight update status {id} --wait",
                    Chain(error)
                )),
            })
            .await;
        ended.map_err(|source| Failure::Unknown { id: id.clone(), source })?
    } else {
        shown
    };
    let status = text(&shown, "/status");
    // Only a pre-flight that did not pass needs explaining. Its report may be gone by now, its events are not.
    let mut report = None;
    if status == "blocked" {
        if !waiting.wait {
            Follower::new(client, &id).stream(&mut |event| note(event, &mut |_| ())).await?;
        }
        let path = format!("/v1/preflights/{}", text(&shown, "/report"));
        report = client.call(Call::get(&path)).await.ok();
    }
    let exit = if waiting.wait && is_for_person(&shown) {
        // Whether the former credential is refused cannot be told before somebody has removed it.
        Exit::Inconclusive
    } else {
        result::exit(status, verdict.as_deref(), purpose)
    };
    Ok(Outcome { text: result::update(&shown, report.as_ref(), &client.server.url), json: shown, exit })
}

/// The id, if it can be one: it becomes part of a path.
fn known_form(id: &str) -> Result<String, Usage> {
    UpdateId::parse(id).map(|id| id.to_string()).map_err(|error| Usage(format!("{id}: {}", Chain(&error))))
}

/// The number of an event, plain or as an ETag.
fn event_number(text: &str) -> Result<u64, &'static str> {
    let number = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits).ok_or("must be the number of an event, such as 7")
}

fn random_key() -> Result<String, Usage> {
    let mut bits = [0_u8; 16];
    SystemRandom::new().fill(&mut bits).map_err(|_| Usage("the system gives no random bits".to_owned()))?;
    Ok(uuid::Builder::from_random_bytes(bits).into_uuid().to_string())
}
