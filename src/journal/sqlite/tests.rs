//! What only a file can show; the contract of every journal is in `tests/it/journal/contract.rs`.

use super::*;

fn options(path: &Path) -> SqliteOptions {
    SqliteOptions {
        path: path.to_owned(),
        sealing_key: None,
        #[cfg(feature = "sandbox")]
        crash_after_writes: None,
    }
}

#[test]
fn one_process_has_the_file_and_its_owner_alone_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    let journal = SqliteJournal::open(options(&path)).unwrap();
    assert!(matches!(SqliteJournal::open(options(&path)), Err(OpenError::Locked { .. })));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(journal);
    SqliteJournal::open(options(&path)).unwrap();
}

#[test]
fn a_later_schema_and_a_file_that_is_no_database_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.sqlite");
    drop(SqliteJournal::open(options(&path)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteJournal::open(options(&path)), Err(OpenError::LaterSchema { found: 99, .. })));
    let other = directory.path().join("other");
    std::fs::write(&other, "no database at all, and long enough to be taken for a header of one").unwrap();
    assert!(matches!(SqliteJournal::open(options(&other)), Err(OpenError::Database { .. })));
    let nowhere = directory.path().join("no/such/directory/journal.sqlite");
    assert!(matches!(SqliteJournal::open(options(&nowhere)), Err(OpenError::File { .. })));
}
