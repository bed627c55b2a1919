//! The tables, and how an older file comes to have them.

use rusqlite::{Connection, TransactionBehavior};

use super::OpenError;

/// One entry for each schema version, from 1: what brings the one before to it.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE updates (
        id TEXT PRIMARY KEY,
        key_store TEXT NOT NULL,
        new_access_key_id TEXT,
        open INTEGER NOT NULL,
        verified INTEGER NOT NULL,
        idempotency_key TEXT UNIQUE,
        request_digest TEXT
    ) STRICT;
    -- One open update for each key store, whoever writes.
    CREATE UNIQUE INDEX one_open_update ON updates (key_store) WHERE open = 1;
    CREATE TABLE events (
        update_id TEXT NOT NULL REFERENCES updates (id),
        sequence INTEGER NOT NULL,
        at TEXT NOT NULL,
        version INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (update_id, sequence)
    ) STRICT;
    CREATE TABLE secrets (
        update_id TEXT NOT NULL REFERENCES updates (id),
        purpose TEXT NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (update_id, purpose)
    ) STRICT;
",
    "
    CREATE TABLE canaries (
        id INTEGER PRIMARY KEY,
        key_store TEXT NOT NULL,
        at TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        path TEXT NOT NULL,
        key TEXT NOT NULL,
        ciphertext BLOB NOT NULL,
        initialization_vector BLOB NOT NULL,
        authentication_tag BLOB NOT NULL,
        ciphertext_metadata BLOB,
        additional_authenticated_data BLOB NOT NULL,
        plaintext_sha256 BLOB NOT NULL
    ) STRICT;
",
    // Counts the leases; who has one, and until when, is not kept: no lease outlives the one process.
    "ALTER TABLE updates ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;",
    "
    CREATE TABLE audit (
        sequence INTEGER PRIMARY KEY,
        entry TEXT NOT NULL,
        digest TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE,
        -- For queries; taken from the entry, so that they cannot say anything else.
        key_store TEXT GENERATED ALWAYS AS (entry ->> '$.key_store') VIRTUAL,
        update_id TEXT GENERATED ALWAYS AS (entry ->> '$.update') VIRTUAL
    ) STRICT;
    CREATE INDEX audit_of_key_store ON audit (key_store, sequence);
    CREATE INDEX audit_of_update ON audit (update_id, sequence);
    CREATE TRIGGER audit_keeps_lines BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    CREATE TRIGGER audit_changes_nothing BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    CREATE TABLE reports (
        id TEXT PRIMARY KEY,
        update_id TEXT NOT NULL REFERENCES updates (id),
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX reports_of_update ON reports (update_id, id);
",
    "
    -- An empty key_store means every one.
    CREATE TABLE freezes (
        key_store TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        frozen_by TEXT NOT NULL,
        since TEXT NOT NULL,
        until TEXT
    ) STRICT;
",
    "
    CREATE TABLE vigils (
        key_store TEXT NOT NULL,
        candidate TEXT NOT NULL,
        settings TEXT NOT NULL,
        green_since TEXT,
        last TEXT NOT NULL,
        verdict TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (key_store, candidate)
    ) STRICT;
",
    // What KMS was told last of a key store is looked for at every start and before every plan.
    "CREATE INDEX updates_with_credential ON updates (key_store, id) WHERE new_access_key_id IS NOT NULL;",
];

/// Brings the database to the present schema; refuses a later one.
pub(super) fn migrate(connection: &mut Connection, path: &str) -> Result<(), OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::LaterSchema { path: path.to_owned(), found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(migration).map_err(database)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(database)?;
    transaction.commit().map_err(database)
}
