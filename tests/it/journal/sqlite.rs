//! The contract, kept by the SQLite journal.

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use xks_preflight::journal::{CanaryKeeper, Journal, SealingKey, SqliteJournal, SqliteOptions};

use super::contract::{Opened, Subject, contract};

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
        Opened { journal: Arc::new(journal) as Arc<dyn Journal>, canaries }
    }

    async fn everything_stored(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        files.flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
    }
}

contract!(Sqlite);
