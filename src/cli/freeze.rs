//! `xks-preflight freeze`: stops the beginning of changes at a running daemon, and lifts that again.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::update::{Face, NotFetched, Output, clean, send, text};
use super::{Exit, Usage, print, token};
use crate::clock::{Clock as _, SystemClock};
use crate::key_store::CustomKeyStoreId;

/// What to do.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  xks-preflight freeze set --all --reason 'quarter end' --until 12h")]
pub enum Command {
    /// Stop the beginning of changes, in place of an earlier freeze of the same. What has begun is seen through.
    #[command(after_help = "Examples:\n  xks-preflight freeze set --all --reason 'quarter end' --until 12h\n  \
        xks-preflight freeze set --key-store cks-1234567890abcdef0 --reason 'incident 4711'\n\n\
        Exit codes: 0 in force, 2 usage, 3 the daemon cannot be asked, 4 refused, 5 unknown (see freeze show).")]
    Set {
        /// Of which key stores.
        #[command(flatten)]
        of: Of,
        /// Why, in one line; told to everybody whose change is refused.
        #[arg(long, env = "XKS_PREFLIGHT_REASON", value_name = "TEXT")]
        reason: String,
        /// When it ends by itself: after so long, such as 12h or 3d, or at an RFC 3339 time; when it is lifted without it.
        #[arg(long, env = "XKS_PREFLIGHT_UNTIL", value_name = "DURATION|TIME")]
        until: Option<String>,
        /// Where.
        #[command(flatten)]
        face: Face,
    },
    /// Show the freezes in force.
    #[command(after_help = "Example:\n  xks-preflight freeze show")]
    Show {
        /// Where.
        #[command(flatten)]
        face: Face,
    },
    /// Lift a freeze before its time. One of all key stores and one of a single key store are lifted each for itself;
    /// what was refused meanwhile does not begin by that.
    #[command(after_help = "Examples:\n  xks-preflight freeze lift --all\n  \
        xks-preflight freeze lift --key-store cks-1234567890abcdef0\n\n\
        Exit codes: 0 lifted, 2 usage, or there was none, 3 the daemon cannot be asked, 4 refused, 5 unknown.")]
    Lift {
        /// Of which key stores.
        #[command(flatten)]
        of: Of,
        /// Where.
        #[command(flatten)]
        face: Face,
    },
}

/// Of which key stores: said in so many words, because a freeze of the wrong one stops nothing.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Of {
    /// CustomKeyStoreId of one key store.
    // Neither comes from the environment: what names the key store of an update would forbid --all.
    #[arg(long, value_name = "ID")]
    key_store: Option<String>,
    /// Every key store of the daemon.
    #[arg(long)]
    all: bool,
}

/// Does it and prints the result.
pub fn run(command: &Command) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; the system refuses resources")?;
    let (Command::Set { face, .. } | Command::Show { face } | Command::Lift { face, .. }) = command;
    match runtime.block_on(carry_out(command)) {
        Ok((words, answer)) => {
            match face.output {
                Output::Text => print(&words)?,
                Output::Json => print(&format!("{answer:#}\n"))?,
            }
            Ok(Exit::Done)
        }
        Err(not_fetched) => not_fetched.end(),
    }
}

async fn carry_out(command: &Command) -> Result<(String, Value), NotFetched> {
    match command {
        Command::Set { of, reason, until, face } => {
            let until = until.as_deref().map(|text| token::end("--until", text, SystemClock.now())).transpose()?;
            let key_store = of.key_store()?.map(|id| id.to_string());
            let body = json!({ "key_store": key_store, "reason": reason, "until": until.map(|end| end.to_string()) });
            let answer = send(&face.server, Method::POST, "/v1/freeze", Some(&body)).await?;
            Ok((format!("In force:\n{}", one(&answer)), answer))
        }
        Command::Show { face } => {
            let answer = send(&face.server, Method::GET, "/v1/freeze", None).await?;
            let freezes = answer.get("freezes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let words = match freezes {
                [] => "Nothing is frozen.\n".to_owned(),
                freezes => freezes.iter().map(one).collect(),
            };
            Ok((words, answer))
        }
        Command::Lift { of, face } => {
            let query = of.key_store()?.map(|id| format!("?key_store={id}")).unwrap_or_default();
            let answer = send(&face.server, Method::DELETE, &format!("/v1/freeze{query}"), None).await?;
            Ok((format!("Lifted:\n{}", one(&answer)), answer))
        }
    }
}

impl Of {
    /// The one key store, or none for all. It becomes part of a path.
    fn key_store(&self) -> Result<Option<CustomKeyStoreId>, Usage> {
        let parse =
            |text: &String| CustomKeyStoreId::parse(text).map_err(|error| Usage(format!("--key-store: {error}")));
        self.key_store.as_ref().map(parse).transpose()
    }
}

/// One freeze for people.
fn one(freeze: &Value) -> String {
    let at = |pointer| text(freeze, pointer);
    let of = match at("/key_store") {
        "" => "every key store".to_owned(),
        id => format!("key store {id}"),
    };
    let until = match at("/until") {
        "" => "somebody lifts it",
        time => time,
    };
    let mut out = String::new();
    let lines = [
        format!("Freeze of {of}"),
        format!("  because       {}", at("/reason")),
        format!("  by            {}, since {}", at("/by"), at("/since")),
        format!("  until         {until}"),
    ];
    for line in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", clean(&line));
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn parsed(arguments: &[&str]) -> Result<Line, clap::Error> {
        Line::try_parse_from(["x"].iter().chain(arguments))
    }

    #[test]
    fn what_is_frozen_or_lifted_is_said_in_so_many_words() {
        for good in [
            &["set", "--all", "--reason", "r"][..],
            &["set", "--key-store", "cks-1", "--reason", "r", "--until", "12h"],
            &["lift", "--all"],
            &["lift", "--key-store", "cks-1"],
            &["show"],
        ] {
            assert!(parsed(good).is_ok(), "{good:?}");
        }
        for bad in [
            &["set", "--reason", "r"][..],
            &["set", "--all"],
            &["set", "--all", "--key-store", "cks-1", "--reason", "r"],
            &["lift"],
            &["lift", "--all", "--key-store", "cks-1"],
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
        let Ok(Line { command: Command::Lift { of, .. } }) = parsed(&["lift", "--key-store", "cks-1/../x"]) else {
            panic!("an id is judged later")
        };
        assert!(of.key_store().is_err());
    }

    #[test]
    fn a_freeze_is_told_without_commands_to_the_terminal() {
        let freeze =
            json!({ "key_store": null, "reason": "quarter\u{1b}[31m end", "by": "ann", "since": "s", "until": null });
        let told = one(&freeze);
        assert!(told.starts_with("Freeze of every key store\n  because       quarter [31m end\n"), "{told}");
        assert!(told.ends_with("  until         somebody lifts it\n"), "{told}");
    }
}
