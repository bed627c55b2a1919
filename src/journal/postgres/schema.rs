//! The tables, and how an older database comes to have them.

use deadpool_postgres::Transaction;

use super::super::OpenError;
use super::{Inner, LIMIT, NoAnswer};
use crate::chain::Chain;

/// One entry for each schema version, from 1: what brings the one before to it.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE updates (
        -- Identifiers sort as bytes, whatever the language of the database.
        id TEXT COLLATE \"C\" PRIMARY KEY,
        key_store TEXT NOT NULL,
        new_access_key_id TEXT,
        open BOOLEAN NOT NULL,
        verified BOOLEAN NOT NULL,
        idempotency_key TEXT UNIQUE,
        request_digest TEXT,
        -- Counts the leases.
        fence BIGINT NOT NULL DEFAULT 0,
        lease_holder TEXT,
        lease_until TIMESTAMPTZ
    );
    -- One open update for each key store, whoever writes.
    CREATE UNIQUE INDEX one_open_update ON updates (key_store) WHERE open;
    CREATE TABLE events (
        update_id TEXT COLLATE \"C\" NOT NULL REFERENCES updates (id),
        sequence BIGINT NOT NULL,
        at TEXT NOT NULL,
        version BIGINT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (update_id, sequence)
    );
    CREATE TABLE secrets (
        update_id TEXT COLLATE \"C\" NOT NULL REFERENCES updates (id),
        purpose TEXT NOT NULL,
        sealed BYTEA NOT NULL,
        PRIMARY KEY (update_id, purpose)
    );
    CREATE TABLE canaries (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key_store TEXT NOT NULL,
        at TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        path TEXT NOT NULL,
        key TEXT NOT NULL,
        ciphertext BYTEA NOT NULL,
        initialization_vector BYTEA NOT NULL,
        authentication_tag BYTEA NOT NULL,
        ciphertext_metadata BYTEA,
        additional_authenticated_data BYTEA NOT NULL,
        plaintext_sha256 BYTEA NOT NULL
    );
    -- What people want of an update that another replica drives: waiting, taken, recorded, refused or withdrawn.
    CREATE TABLE orders (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        update_id TEXT COLLATE \"C\" NOT NULL REFERENCES updates (id),
        left_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
        version BIGINT NOT NULL,
        body TEXT NOT NULL,
        seen BIGINT,
        state TEXT NOT NULL DEFAULT 'waiting'
    );
    CREATE INDEX waiting_orders ON orders (id) WHERE state = 'waiting';
    CREATE TABLE audit (
        sequence BIGINT PRIMARY KEY,
        entry TEXT NOT NULL,
        digest TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        -- For queries; taken from the entry, so that they cannot say anything else.
        key_store TEXT GENERATED ALWAYS AS (entry::jsonb ->> 'key_store') STORED,
        update_id TEXT GENERATED ALWAYS AS (entry::jsonb ->> 'update') STORED
    );
    CREATE INDEX audit_of_key_store ON audit (key_store, sequence);
    CREATE INDEX audit_of_update ON audit (update_id, sequence);
    CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$;
    CREATE TRIGGER audit_keeps_lines BEFORE DELETE OR UPDATE OR TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
    CREATE TABLE reports (
        id TEXT COLLATE \"C\" PRIMARY KEY,
        update_id TEXT COLLATE \"C\" NOT NULL REFERENCES updates (id),
        body TEXT NOT NULL
    );
    CREATE INDEX reports_of_update ON reports (update_id, id);
    -- An empty key_store means every one.
    CREATE TABLE freezes (
        key_store TEXT COLLATE \"C\" PRIMARY KEY,
        reason TEXT NOT NULL,
        frozen_by TEXT NOT NULL,
        since TEXT NOT NULL,
        until TEXT
    );
",
    "
    CREATE TABLE vigils (
        key_store TEXT COLLATE \"C\" NOT NULL,
        candidate TEXT COLLATE \"C\" NOT NULL,
        settings TEXT NOT NULL,
        green_since TEXT,
        last TEXT COLLATE \"C\" NOT NULL,
        verdict TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (key_store, candidate)
    );
",
    // What KMS was told last of a key store is looked for at every start and before every plan.
    "CREATE INDEX updates_with_credential ON updates (key_store, id) WHERE new_access_key_id IS NOT NULL;",
];

/// Replicas that start together migrate one after the other; the number is this program's own.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7842093357213)";

/// Brings the database to the present schema; refuses a later one.
pub(super) async fn migrate(inner: &Inner) -> Result<(), OpenError> {
    let server = |source| OpenError::Server { place: inner.place.clone(), source };
    let migrating = async {
        let mut borrowed = inner.borrow().await.map_err(|error| match error {
            // The place is told once, by the error of opening.
            super::JournalError::Database { source, .. } => server(source),
            other => server(Box::new(other)),
        })?;
        let client = borrowed.client().map_err(|error| server(Box::new(error)))?;
        let transaction = client.transaction().await.map_err(|error| server(Box::new(error)))?;
        transaction.batch_execute(LOCK).await.map_err(|error| server(Box::new(error)))?;
        let found = version(&transaction).await.map_err(|error| server(Box::new(error)))?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(OpenError::LaterSchema { path: inner.place.clone(), found, known });
        }
        if found < known {
            for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
                transaction.batch_execute(migration).await.map_err(|error| server(Box::new(error)))?;
            }
            let sql = format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({known})");
            transaction.batch_execute(&sql).await.map_err(|error| server(Box::new(error)))?;
        }
        transaction.commit().await.map_err(|error| server(Box::new(error)))?;
        match client.query_one("SELECT current_setting('fsync')", &[]).await.map(|row| row.try_get::<_, String>(0)) {
            Ok(Ok(fsync)) if fsync == "off" => {
                tracing::warn!(
                    journal = inner.place,
                    "the server has fsync = off: a power failure there may lose what is recorded"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error = %Chain(&error), "fsync of the server is not known"),
        }
        borrowed.give_back();
        Ok(())
    };
    tokio::time::timeout(LIMIT, migrating).await.unwrap_or_else(|_| Err(server(Box::new(NoAnswer))))
}

/// The version of the tables; 0 when there are none. Makes the schema where it is missing.
async fn version(transaction: &Transaction<'_>) -> Result<i64, tokio_postgres::Error> {
    // Asked first, because CREATE SCHEMA IF NOT EXISTS wants the right to make one even when it is there.
    let there = transaction.query_one("SELECT to_regnamespace('xks_preflight') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        transaction.batch_execute("CREATE SCHEMA xks_preflight").await?;
    }
    let there = transaction.query_one("SELECT to_regclass('xks_preflight.schema_version') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        transaction.batch_execute("CREATE TABLE schema_version (version BIGINT NOT NULL)").await?;
    }
    let found = transaction.query_opt("SELECT version FROM schema_version", &[]).await?;
    found.map_or(Ok(0), |row| row.try_get(0))
}
