//! `xks-preflight audit`: reads, exports and verifies the audit trail and the evidence of updates.
//!
//! Verifying needs nobody's word: lines come from a file, a journal or a daemon, and are judged here.

mod source;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;

use self::source::{Part, Source};
use super::update::{NotFetched, ServerOptions, fetch};
use super::{Exit, Usage, print};
use crate::audit::{Broken, Head, Proven, PublicKey, Remembered, Verified, verify_evidence};
use crate::chain::Chain;
use crate::id::UpdateId;
use crate::update::{Event, Recorded};

/// What to do.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  xks-preflight audit export --server https://gate.example.com > trail.jsonl\n  \
    xks-preflight audit verify trail.jsonl --head 128:9f2c...")]
pub enum Command {
    /// Write the audit trail as JSON Lines.
    #[command(after_help = "Examples:\n  xks-preflight audit export > trail.jsonl\n  \
        xks-preflight audit export --journal /var/lib/xks-preflight/journal.sqlite --update update-0193...")]
    Export {
        /// From where.
        #[command(flatten)]
        from: From,
        /// Only lines with a greater number.
        #[arg(long, env = "XKS_PREFLIGHT_AFTER", value_name = "SEQUENCE", default_value_t = 0)]
        after: u64,
        /// Only lines about this key store; what is left out leaves gaps that verify as removed lines.
        #[arg(long, env = "XKS_PREFLIGHT_KEY_STORE", value_name = "ID")]
        key_store: Option<String>,
        /// Only lines about this update; what is left out leaves gaps that verify as removed lines.
        #[arg(long, env = "XKS_PREFLIGHT_UPDATE", value_name = "ID")]
        update: Option<String>,
    },
    /// Follow the chain of the audit trail from its first line to its end.
    #[command(after_help = "Examples:\n  xks-preflight audit verify trail.jsonl --head 128:9f2c...\n  \
        xks-preflight audit verify --journal /var/lib/xks-preflight/journal.sqlite\n  \
        xks-preflight audit verify --server https://gate.example.com\n\n\
        Without --head, lines that were cut off at the end, and a trail that was made anew as a whole, cannot be \
        seen: keep heads where the daemon's administrators cannot change them.\n\
        Exit codes: 0 intact, 1 broken (the line and how), 2 usage, 3 the daemon cannot be asked.")]
    Verify {
        /// A file of JSON Lines; without it and --journal, a daemon is asked.
        #[arg(value_name = "FILE", conflicts_with = "journal")]
        file: Option<PathBuf>,
        /// From where.
        #[command(flatten)]
        from: From,
        /// A head that was kept elsewhere: it must lie on the chain.
        #[arg(long, env = "XKS_PREFLIGHT_HEAD", value_name = "[SEQUENCE:]HASH")]
        head: Option<String>,
        /// The file begins after this head, and not with the first line.
        #[arg(long, env = "XKS_PREFLIGHT_SINCE", value_name = "SEQUENCE:HASH", requires = "file")]
        since: Option<String>,
    },
    /// Fetch the signed evidence of an update.
    #[command(after_help = "Example:\n  xks-preflight audit evidence update-0193... > evidence.json")]
    Evidence {
        /// The update's id.
        #[arg(value_name = "ID")]
        id: String,
        /// Where.
        #[command(flatten)]
        daemon: Daemon,
    },
    /// Verify the signed evidence of an update; asks nobody.
    #[command(after_help = "Example:\n  xks-preflight audit verify-evidence evidence.json --public-key gate.pem\n\n\
        Exit codes: 0 proven (and what), 1 refused (why), 2 usage.")]
    VerifyEvidence {
        /// The bundle.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The daemon's public key, got and kept by a way of its own.
        #[arg(long, env = "XKS_PREFLIGHT_PUBLIC_KEY", value_name = "PEM")]
        public_key: PathBuf,
    },
    /// Show the public key that verifies evidence, as PEM.
    #[command(after_help = "Example:\n  xks-preflight audit key > gate.pem")]
    Key {
        /// Where.
        #[command(flatten)]
        daemon: Daemon,
    },
}

/// Which daemon.
#[derive(Debug, Args)]
pub struct Daemon {
    #[command(flatten)]
    server: ServerOptions,
}

/// Where the lines come from.
#[derive(Debug, Args)]
pub struct From {
    /// The journal's SQLite file, read beside a running daemon or without one.
    #[arg(long, env = "XKS_PREFLIGHT_JOURNAL", value_name = "FILE")]
    journal: Option<PathBuf>,
    /// The daemon.
    #[command(flatten)]
    server: ServerOptions,
}

/// Does it and prints the result.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; the system refuses resources")?;
    match runtime.block_on(carry_out(command)) {
        Err(error) => match error.downcast::<NotFetched>() {
            Ok(not_fetched) => not_fetched.end(),
            Err(error) => Err(error),
        },
        done => done,
    }
}

async fn carry_out(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Export { from, after, key_store, update } => {
            let part = Part::parse(*after, key_store.as_deref(), update.as_deref())?;
            Source::of(None, from)?.export(&part).await?;
            Ok(Exit::Done)
        }
        Command::Verify { file, from, head, since } => {
            let remembered = head.as_deref().map(|text| self::head("--head", text)).transpose()?;
            let start = since.as_deref().map(start).transpose()?.unwrap_or_else(Head::genesis);
            let told = Source::of(file.as_deref(), from)?.verify(start, remembered).await?;
            tell(&told, remembered)
        }
        Command::Evidence { id, daemon } => {
            let id = UpdateId::parse(id).map_err(|error| Usage(format!("{id}: {}", Chain(&error))))?;
            print(&format!(
                "{}\n",
                fetch(&daemon.server, &format!("/v1/updates/{id}/evidence"), "application/json").await?
            ))?;
            Ok(Exit::Done)
        }
        Command::VerifyEvidence { file, public_key } => {
            let read = |file: &PathBuf| {
                std::fs::read_to_string(file)
                    .map_err(|error| Usage(format!("{} cannot be read: {error}", file.display())))
            };
            let key = PublicKey::parse(&read(public_key)?).map_err(|rule| Usage(format!("--public-key {rule}")))?;
            match verify_evidence(&read(file)?, &key) {
                Ok(proven) => print(&proves(&proven)).map(|()| Exit::Done),
                Err(refused) => print(&format!("refused: {}\n", Chain(&refused))).map(|()| Exit::Failed),
            }
        }
        Command::Key { daemon } => {
            let answer: Value =
                serde_json::from_str(&fetch(&daemon.server, "/v1/audit/key", "application/json").await?)?;
            print(answer["public_key"].as_str().context("the daemon shows no public key")?)?;
            Ok(Exit::Done)
        }
    }
}

fn head(option: &str, text: &str) -> Result<Remembered, Usage> {
    Remembered::parse(text).map_err(|_| Usage(format!("{option}: must be [SEQUENCE:]HASH with 64 hexadecimal digits")))
}

fn start(text: &str) -> Result<Head, Usage> {
    let Remembered { sequence, hash } = head("--since", text)?;
    let sequence = sequence.ok_or_else(|| Usage("--since: must be SEQUENCE:HASH".to_owned()))?;
    Ok(Head { sequence, hash })
}

fn tell(told: &Result<Verified, Broken>, remembered: Option<Remembered>) -> anyhow::Result<Exit> {
    let Verified { head, lines, withheld } = match told {
        Ok(verified) => verified,
        Err(broken) => return print(&format!("{broken}\n")).map(|()| Exit::Failed),
    };
    let mut text = vec![format!("intact: {lines} lines, head {head}\n")];
    if *withheld > 0 {
        text.push(format!("{withheld} of them are shown without contents: their place is proven, not what they say\n"));
    }
    match remembered {
        Some(remembered) => text.push(format!("the remembered head {remembered} lies on the chain\n")),
        None => text.push(
            "no head was remembered: that nothing is missing at the end, and that the whole was not made anew, is not \
             proven; keep this head elsewhere, and give it with --head next time\n"
                .to_owned(),
        ),
    }
    print(&text.concat()).map(|()| Exit::Done)
}

/// What a bundle proves, and what it does not.
fn proves(proven: &Proven) -> String {
    let Proven { evidence, requested_by, approved_by, status, mutations, without_report, reworded } = proven;
    let standing = match evidence.events.last() {
        Some(Recorded { event: Event::Concluded { .. }, at, .. }) => format!("ended {status} at {at}"),
        _ => format!("was {status}, not at its end"),
    };
    let mut text = vec![format!(
        "proven, by the signature of the daemon's key and by what it signed:\n\
         - update {} of key store {} {standing}; the bundle was made at {} (version {})\n\
         - its plan has the digest {}, which was computed again; {requested_by} asked for it\n",
        evidence.update, evidence.key_store, evidence.issued_at, evidence.version, evidence.plan_digest,
    )];
    for recorded in &evidence.events {
        if let Event::BrokeGlass { by, reason, passed_by } = &recorded.event {
            let passed_by: Vec<_> = passed_by.iter().map(|what| what.as_str()).collect();
            text.push(format!("- {by} broke the glass, which passed by {}: {reason}\n", passed_by.join(", ")));
        }
    }
    match approved_by.as_slice() {
        [] => text.push("- nobody approved it; its plan says whether anybody had to\n".to_owned()),
        names => text.push(format!(
            "- {} approved exactly this plan and report, none of them its author\n",
            names.join(" and ")
        )),
    }
    for (step, outcome, request_id) in mutations {
        let request_id = request_id.as_deref().unwrap_or("unknown");
        text.push(format!("- {step}: {outcome}; KMS request id {request_id}\n"));
    }
    text.push(format!(
        "- {} reports of its pre-flights are those whose SHA-256 is in the audit trail\n\
         - the decisions among its {} events are the lines {} to {} of the audit trail, whose head was then {}\n",
        evidence.reports.len(),
        evidence.events.len(),
        evidence.lines.first().map_or(0, |line| line.sequence),
        evidence.lines.last().map_or(0, |line| line.sequence),
        evidence.head,
    ));
    for report in without_report {
        text.push(format!("not in it: the report {report}\n"));
    }
    for line in reworded {
        text.push(format!(
            "not proven: that the words of entry {line} mean its event; version {} chose them\n",
            evidence.version
        ));
    }
    text.push(
        "not proven: that the daemon told the truth (compare the KMS request ids with CloudTrail), and that this head \
         still lies on its trail (xks-preflight audit verify --head)\n"
            .to_owned(),
    );
    text.concat()
}
