//! The contract, kept by the PostgreSQL journal, and what only a server can show.

mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use xks_preflight::audit::{Broken, Why};
use xks_preflight::chain::Chain;
use xks_preflight::id::IdSource;
use xks_preflight::journal::{
    Created, Journal, JournalError, OpenError, OrderAnswer, OrderDesk, OrderStanding, PostgresJournal, SealingKey,
};
use xks_preflight::update::Event;

use super::contract::{Opened, Subject, contract, new, planned, sealing_key, trail};
use crate::postgres::{Database, PASSWORD, Server, shared};

struct Postgres(Database);

#[async_trait]
impl Subject for Postgres {
    async fn new() -> Self {
        Self(shared().database().await)
    }

    async fn open(&self, sealing_key: Option<SealingKey>) -> Opened {
        let journal = self.0.journal(sealing_key).await;
        let journal = Arc::new(journal);
        Opened {
            canaries: journal.clone(),
            trail: journal.clone(),
            freezes: journal.clone(),
            vigils: journal.clone(),
            journal,
        }
    }

    async fn everything_stored(&self) -> Vec<u8> {
        self.0.files().await
    }
}

contract!(Postgres);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_make_the_tables_once() {
    let database = shared().database().await;
    let opened = (0..6).map(|_| PostgresJournal::open(database.options(None)));
    for journal in futures_util::future::join_all(opened).await {
        assert_eq!(journal.unwrap().open_updates().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_schema_is_refused() {
    let database = shared().database().await;
    drop(database.journal(None).await);
    database.execute("UPDATE xks_preflight.schema_version SET version = 99").await;
    let refused = PostgresJournal::open(database.options(None)).await.unwrap_err();
    assert!(matches!(refused, OpenError::LaterSchema { found: 99, .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_opening_is_told_without_the_password() {
    let database = shared().database().await;
    let nobody = Database { name: "no_such_database".into(), ..database.clone() };
    let refused = PostgresJournal::open(nobody.options(None)).await.unwrap_err();
    let told = Chain(&refused).to_string();
    assert!(told.contains("no_such_database") && told.contains("does not exist"), "{told}");
    let mut options = database.options(None);
    options.address = options.address.with_password(&"WrongPasswordDoNotLeak".to_owned().into());
    let told = format!("{}", Chain(&PostgresJournal::open(options).await.unwrap_err()));
    assert!(told.contains("password authentication failed") && !told.contains("DoNotLeak"), "{told}");
    assert!(!format!("{:?}", database.options(None)).contains(PASSWORD));
    // Nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let down = Database { port, ..database };
    let refused = PostgresJournal::open(down.options(None)).await.unwrap_err();
    assert!(Chain(&refused).to_string().contains("refused"), "{}", Chain(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_used_again() {
    let server = Server::start();
    let journal = server.database().await.journal(Some(sealing_key())).await;
    let first = planned(&IdSource::from_seed(1), "cks-1", 1);
    assert_eq!(journal.create(new(&first, None, "")).await.unwrap(), Created::New);
    server.stop();
    assert!(matches!(journal.load(first.id).await, Err(JournalError::Database { .. })));
    server.run_again();
    assert_eq!(journal.load(first.id).await.unwrap().len(), 1);
    server.set("default_transaction_read_only = on");
    let reads_only = async {
        // The server takes the setting some time after it is told to. Each try needs a key store of its own: an update
        // made by the try before would be found, and finding it writes nothing.
        for seed in 2.. {
            match journal.create(new(&planned(&IdSource::from_seed(seed), &format!("cks-{seed}"), 1), None, "")).await {
                Err(error) => return Chain(&error).to_string(),
                Ok(_) => tokio::task::yield_now().await,
            }
        }
        unreachable!("seeds do not end")
    };
    let told = tokio::time::timeout(std::time::Duration::from_mins(1), reads_only).await.unwrap();
    assert!(told.contains("read-only transaction"), "{told}");
    assert_eq!(journal.load(first.id).await.unwrap().len(), 1, "it can still be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_changes_and_removes_no_line() {
    let subject = Postgres::new().await;
    let (opened, ..) = trail::written(&subject).await;
    let client = subject.0.client().await;
    for sql in [
        "UPDATE xks_preflight.audit SET entry = '{}' WHERE sequence = 2",
        "DELETE FROM xks_preflight.audit WHERE sequence = 2",
        "TRUNCATE xks_preflight.audit",
    ] {
        let refused = client.batch_execute(sql).await.unwrap_err();
        assert!(Chain(&refused).to_string().contains("append-only"), "{}", Chain(&refused));
    }
    // Whoever owns the table can take the trigger away; the chain still tells.
    let sql = "DROP TRIGGER audit_keeps_lines ON xks_preflight.audit; \
               UPDATE xks_preflight.audit SET entry = replace(entry, 'visitor', 'deploy.') WHERE sequence = 2";
    client.batch_execute(sql).await.unwrap();
    let broken = trail::verified(&*opened.trail).await.unwrap_err();
    assert!(matches!(broken, Broken { at: 2, why: Why::Changed { sequence: 2 } }), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_left_taken_once_and_answered() {
    let journal = shared().database().await.journal(Some(sealing_key())).await;
    let first = planned(&IdSource::from_seed(1), "cks-1", 1);
    journal.create(new(&first, None, "")).await.unwrap();
    let event = Event::CancelRequested { by: "op".into() };
    let order = journal.leave(first.id, &event, Some(7)).await.unwrap();
    assert_eq!(journal.standing(order).await.unwrap(), OrderStanding::Waiting);
    let waiting = journal.waiting().await.unwrap();
    assert_eq!((waiting[0].id, waiting[0].update, waiting[0].seen), (order, first.id, Some(7)));
    assert_eq!(waiting[0].order, event);
    assert!(journal.take(order).await.unwrap());
    assert!(!journal.take(order).await.unwrap(), "once");
    assert_eq!(journal.withdraw(order).await.unwrap(), OrderStanding::Taken, "too late");
    journal.answer(order, OrderAnswer::Recorded).await.unwrap();
    assert_eq!(journal.standing(order).await.unwrap(), OrderStanding::Answered(OrderAnswer::Recorded));
    assert_eq!(journal.waiting().await.unwrap(), []);

    let other = journal.leave(first.id, &event, None).await.unwrap();
    assert_eq!(journal.withdraw(other).await.unwrap(), OrderStanding::Withdrawn);
    assert!(!journal.take(other).await.unwrap(), "taken back");
}
