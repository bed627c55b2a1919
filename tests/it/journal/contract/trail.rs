//! The audit trail beside the updates.

use xks_preflight::audit::{
    Action, Broken, By, Decision, Entry, Head, Line, Subject as About, Verified, document_hash, verify,
};
use xks_preflight::id::ReportId;
use xks_preflight::journal::LinesWanted;

use super::*;

const EVERYTHING: LinesWanted = LinesWanted { after: 0, limit: 1_000, key_store: None, update: None };

pub(crate) async fn verified(trail: &dyn AuditTrail) -> Result<Verified, Broken> {
    let lines = trail.lines(&EVERYTHING).await.unwrap();
    verify(Head::genesis(), lines.iter().map(String::as_str), None)
}

async fn actions(trail: &dyn AuditTrail, wanted: &LinesWanted) -> Vec<(u64, Action)> {
    let lines = trail.lines(wanted).await.unwrap();
    let read = lines.iter().map(|line| Line::parse(line).unwrap());
    read.map(|line| (line.sequence, line.entry.unwrap().action)).collect()
}

fn refusal(at: Timestamp) -> Entry {
    let key_store = Some(CustomKeyStoreId::parse("cks-1").unwrap());
    let by = Some(By::named("visitor"));
    Entry { key_store, ..Entry::new(at, by, Action::SubmitUpdate, Decision::Denied, "visitor lacks the permission") }
}

/// Two updates, a refusal between, a report.
pub(crate) async fn written<S: Subject>(subject: &S) -> (Opened, Plan, Plan) {
    let ids = IdSource::from_seed(1);
    let opened = subject.open(Some(sealing_key())).await;
    let Opened { journal, trail, .. } = &opened;
    let (first, second) = (planned(&ids, "cks-1", 1), planned(&ids, "cks-2", 2));
    journal.create(new(&first, None, "")).await.unwrap();
    trail.note(&refusal(first.created_at)).await.unwrap();
    journal.create(new(&second, None, "")).await.unwrap();
    let at = first.created_at;
    let report = ReportId::new(&ids, at);
    trail.keep_report(at, &About::of(&first), report, "{\"verdict\":\"ready\"}").await.unwrap();
    assert_eq!(trail.reports(first.id).await.unwrap(), [(report, "{\"verdict\":\"ready\"}".to_owned())]);
    assert_eq!(trail.report(report).await.unwrap(), Some((first.id, "{\"verdict\":\"ready\"}".to_owned())));
    assert_eq!(trail.reports(second.id).await.unwrap(), []);
    conclude(&**journal, &first, Ending::Abandoned { by: "op".into() }).await;
    (opened, first, second)
}

pub(crate) async fn every_event_and_every_note_has_its_line<S: Subject>(subject: S) {
    let (opened, first, second) = written(&subject).await;
    let trail = &*opened.trail;
    let all = [
        (1, Action::UpdatePlanned),
        (2, Action::SubmitUpdate),
        (3, Action::UpdatePlanned),
        (4, Action::ReportKept),
        (5, Action::UpdateConcluded),
    ];
    assert_eq!(actions(trail, &EVERYTHING).await, all);
    assert_eq!(actions(trail, &LinesWanted { after: 1, limit: 2, ..EVERYTHING }).await, all[1..3]);
    let of_first = LinesWanted { update: Some(first.id), ..EVERYTHING };
    assert_eq!(actions(trail, &of_first).await, [all[0], all[3], all[4]]);
    let of_store = LinesWanted { key_store: Some(second.key_store.clone()), ..EVERYTHING };
    assert_eq!(actions(trail, &of_store).await, [all[2]]);

    let kept = Line::parse(&trail.lines(&EVERYTHING).await.unwrap()[3]).unwrap().entry.unwrap();
    assert_eq!(kept.document, Some(document_hash(b"{\"verdict\":\"ready\"}")));
    assert_eq!(kept.plan.as_ref(), Some(first.digest()));
    let head = verified(trail).await.unwrap().head;
    assert_eq!(trail.head().await.unwrap(), head);
    drop(opened);
    assert_eq!(subject.open(None).await.trail.head().await.unwrap(), head);
}

pub(crate) async fn an_event_that_is_refused_leaves_no_line<S: Subject>(subject: S) {
    let (Opened { journal, trail, .. }, first, second) = written(&subject).await;
    let before = trail.head().await.unwrap();
    let fence = leased(&*journal, second.id).await;
    let again = journal.append(second.id, fence, 1, first.created_at, &Event::ApprovalRequested {}).await;
    assert!(matches!(again, Err(JournalError::OutOfSequence { .. })));
    let twice = trail.reports(first.id).await.unwrap()[0].0;
    assert!(trail.keep_report(first.created_at, &About::of(&first), twice, "{}").await.is_err());
    assert_eq!(trail.head().await.unwrap(), before);
}

pub(crate) async fn many_who_write_at_once_make_one_chain<S: Subject>(subject: S) {
    let Opened { trail, .. } = subject.open(None).await;
    let writers = (0..8).map(|second| {
        let trail = Arc::clone(&trail);
        tokio::spawn(async move {
            for _ in 0..8 {
                trail.note(&refusal(Timestamp::from_unix(second))).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(verified(&*trail).await.unwrap().lines, 64);
}
