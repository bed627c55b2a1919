//! TLS to PostgreSQL, against a server that takes it, one that does not, and one that insists.

use rustls::RootCertStore;
use serde_json::json;
use xks_preflight::chain::Chain;
use xks_preflight::journal::{Journal as _, PostgresAddress, PostgresJournal, PostgresOptions};
use xks_preflight::sandbox::pki::Pki;

use crate::daemon::stage::{Daemon, NEW, Stage};
use crate::peers::wall_clock;
use crate::postgres::{Database, PASSWORD, Server, USER, shared};

const NAME: &str = "localhost";

fn pki() -> Pki {
    Pki::new(wall_clock()()).unwrap()
}

fn url(database: &Database, host: &str, mode: &str) -> String {
    format!("postgresql://{USER}@{host}:{}/{}?sslmode={mode}", database.port, database.name)
}

/// What comes of opening the journal: what was told, if it could not be.
async fn open(url: &str, roots: &Pki) -> Result<PostgresJournal, String> {
    let mut trusted = RootCertStore::empty();
    trusted.add(roots.root_der().clone()).unwrap();
    let address = PostgresAddress::parse(url).unwrap().with_password(&PASSWORD.to_owned().into());
    let options = PostgresOptions { address, roots: trusted, sealing_key: None, crash_after_writes: None };
    PostgresJournal::open(options).await.map_err(|refused| Chain(&refused).to_string())
}

/// Whether every connection of ours to the database is encrypted.
async fn all_encrypted(database: &Database) -> bool {
    let sql = "SELECT count(*) > 0 AND bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
               WHERE a.application_name = 'xks-preflight' AND a.datname = $1";
    let any = Database { name: "postgres".into(), ..database.clone() };
    any.client().await.query_one(sql, &[&database.name]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_authority_and_its_name_alone() {
    let (authority, stranger) = (pki(), pki());
    let issued = authority.issue(&authority.leaf([NAME])).unwrap();
    let server = Server::start();
    server.take_tls(issued.chain_pem(), issued.key_pem());
    let database = server.database().await;
    let journal = open(&url(&database, NAME, "require"), &authority).await.unwrap();
    assert_eq!(journal.open_updates().await.unwrap(), []);
    assert!(all_encrypted(&database).await);
    drop(journal);

    for (what, url, roots, words) in [
        ("another authority", url(&database, NAME, "require"), &stranger, "invalid peer certificate"),
        ("another name", url(&database, "127.0.0.1", "require"), &authority, "certificate not valid for name"),
    ] {
        let told = open(&url, roots).await.map(drop).unwrap_err();
        assert!(told.contains(words) && !told.contains("DoNotLeak"), "{what}: {told}");
    }
    // The other side insists, too.
    server.refuse_clear_text(&database);
    let told = open(&url(&database, NAME, "disable"), &authority).await.map(drop).unwrap_err();
    assert!(told.contains("no encryption"), "{told}");
    open(&url(&database, NAME, "require"), &authority).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let database = shared().database().await;
    let told = open(&url(&database, NAME, "require"), &pki()).await.map(drop).unwrap_err();
    assert!(told.contains("server does not support TLS"), "{told}");
    assert!(open(&url(&database, NAME, "disable"), &pki()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_trusts_the_authority_that_is_configured() {
    let (authority, stranger) = (pki(), pki());
    let issued = authority.issue(&authority.leaf([NAME])).unwrap();
    let server = Server::start();
    server.take_tls(issued.chain_pem(), issued.key_pem());
    let database = server.database().await;
    let stage = Stage::on_postgres("postgres-tls", &url(&database, NAME, "require")).await;
    stage.trusting_postgres(stranger.root_pem());
    let told = Daemon::refuses_to_start(&stage).await;
    assert!(told.contains("invalid peer certificate") && told.contains("cannot be opened"), "{told}");
    std::fs::write(stage.directory.join("postgres-ca.pem"), authority.root_pem()).unwrap();
    let daemon = Daemon::start(&stage, None).await;
    let id = daemon.submit(&stage, json!({ "XksProxyUriEndpoint": NEW })).await;
    assert_eq!(daemon.follow(&id).await["status"], "verified");
    assert!(all_encrypted(&database).await);
    daemon.terminate().await;
}
