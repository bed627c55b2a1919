//! The contract, kept by the SQLite journal.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use xks_preflight::audit::{Broken, Why};
use xks_preflight::journal::{AuditTrail, CanaryKeeper, Journal, SealingKey, SqliteJournal, SqliteOptions};

use super::contract::{Opened, Subject, contract, trail};

struct Sqlite(TempDir);

#[async_trait]
impl Subject for Sqlite {
    async fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self, sealing_key: Option<SealingKey>) -> Opened {
        let path = self.0.path().join("journal.sqlite");
        let journal = SqliteJournal::open(SqliteOptions { path, sealing_key, crash_after_writes: None }).unwrap();
        let canaries: Arc<dyn CanaryKeeper> = Arc::new(journal.clone());
        let trail: Arc<dyn AuditTrail> = Arc::new(journal.clone());
        let freezes = Arc::new(journal.clone());
        let vigils = Arc::new(journal.clone());
        Opened { journal: Arc::new(journal) as Arc<dyn Journal>, canaries, trail, freezes, vigils }
    }

    async fn everything_stored(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        files.flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
    }
}

contract!(Sqlite);

#[tokio::test]
async fn the_database_itself_changes_and_removes_no_line() {
    let directory = Sqlite::new().await;
    drop(trail::written(&directory).await);
    let path = directory.0.path().join("journal.sqlite");
    let database = rusqlite::Connection::open(path).unwrap();
    for sql in ["UPDATE audit SET entry = '{}' WHERE sequence = 2", "DELETE FROM audit WHERE sequence = 2"] {
        let refused = database.execute(sql, []).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
    // Whoever owns the file can take the triggers away; the chain still tells.
    database.execute_batch("DROP TRIGGER audit_keeps_lines; DROP TRIGGER audit_changes_nothing").unwrap();
    database.execute("UPDATE audit SET entry = replace(entry, 'visitor', 'deploy.') WHERE sequence = 2", []).unwrap();
    let Opened { trail, .. } = directory.open(None).await;
    let broken = trail::verified(&*trail).await.unwrap_err();
    assert!(matches!(broken, Broken { at: 2, why: Why::Changed { sequence: 2 } }), "{broken}");
    database.execute("DELETE FROM audit WHERE sequence = 2", []).unwrap();
    let broken = trail::verified(&*trail).await.unwrap_err();
    assert!(matches!(broken, Broken { at: 2, why: Why::Removed { first: 2, last: 2 } }), "{broken}");
}
