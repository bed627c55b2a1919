use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::key_store::CustomKeyStoreId;

fn entry(number: usize, message: &str) -> Entry {
    let by = number.is_multiple_of(2).then(|| By::named("deploy \"é\u{1f}\""));
    let at = Timestamp::from_unix_millis(1_800_000_000_000 + i64::try_from(number).unwrap());
    Entry {
        key_store: Some(CustomKeyStoreId::parse("cks-1234567890abcdef0").unwrap()),
        event: Some(7),
        ..Entry::new(at, by, Action::MutationSettled, Decision::Recorded, message)
    }
}

fn chain(messages: &[String]) -> Vec<Line> {
    let mut head = Head::genesis();
    let mut lines = Vec::new();
    for (number, message) in messages.iter().enumerate() {
        let line = Line::following(head, entry(number, message));
        head = line.head();
        lines.push(line);
    }
    lines
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

fn check(texts: &[String], remembered: Option<Remembered>) -> Result<Verified, Broken> {
    verify(Head::genesis(), texts.iter().map(String::as_str), remembered)
}

fn why(texts: &[String], remembered: Option<Remembered>) -> Why {
    check(texts, remembered).unwrap_err().why
}

fn five() -> Vec<Line> {
    chain(&["one", "two", "three", "four", "five"].map(ToOwned::to_owned))
}

#[test]
fn the_written_form_is_a_promise() {
    // Recomputed independently: sha256 over the documented bytes.
    assert_eq!(Head::genesis().to_string(), format!("0:{}", document_hash(b"xks-preflight/audit/genesis/1\0")));
    let line = five().remove(0);
    let text = line.to_string();
    let entry = line.entry_text().unwrap();
    assert_eq!(
        entry,
        "{\"at\":\"2027-01-15T08:00:00.000Z\",\"by\":{\"name\":\"deploy \\\"é\\u001f\\\"\",\"method\":null},\
         \"action\":\"mutation_settled\",\"key_store\":\"cks-1234567890abcdef0\",\"update\":null,\"event\":7,\"plan\":null,\
         \"report\":null,\"kms_request_id\":null,\"document\":null,\"decision\":\"recorded\",\"message\":\"one\"}"
    );
    let digest = document_hash(format!("xks-preflight/audit/entry/1\0{entry}").as_bytes());
    let previous = Head::genesis().hash;
    let hash = document_hash(format!("xks-preflight/audit/link/1\x001:{previous}:{digest}").as_bytes());
    assert_eq!(
        text,
        format!(
            "{{\"sequence\":1,\"entry\":{entry},\"digest\":\"{digest}\",\"previous\":\"{previous}\",\"hash\":\"{hash}\"}}"
        )
    );
}

#[test]
fn words_are_the_serialised_ones() {
    for action in [Action::UpdatePlanned, Action::RollBackUpdate, Action::LeftOut, Action::KmsDescribe] {
        assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{}\"", action.as_str()));
    }
    for decision in [Decision::Allowed, Decision::Denied, Decision::Recorded] {
        assert_eq!(serde_json::to_string(&decision).unwrap(), format!("\"{}\"", decision.as_str()));
    }
}

#[test]
fn each_way_of_breaking_it_has_its_own_words() {
    let lines = five();
    let whole = texts(&lines);
    let head = lines[4].head();
    assert_eq!(check(&whole, Some(head.into())).unwrap(), Verified { head, lines: 5, withheld: 0 });

    let mut changed = whole.clone();
    changed[2] = changed[2].replace("three", "threw");
    assert!(matches!(why(&changed, None), Why::Changed { sequence: 3 }));

    let mut removed = whole.clone();
    removed.drain(1..3);
    assert!(matches!(why(&removed, None), Why::Removed { first: 2, last: 3 }));
    assert!(matches!(why(&whole[2..], None), Why::Removed { first: 1, last: 2 }));

    let mut swapped = whole.clone();
    swapped.swap(1, 3);
    assert!(matches!(why(&swapped, None), Why::Reordered { expected: 2, found: 4 }));

    let mut repeated = whole.clone();
    repeated.insert(3, whole[1].clone());
    assert!(matches!(why(&repeated, None), Why::Repeated { expected: 4, found: 2 }));

    let mut replaced = whole.clone();
    replaced[1] = Line::following(lines[0].head(), entry(1, "another")).to_string();
    assert!(matches!(why(&replaced, None), Why::Replaced { sequence: 3 }));

    // The end alone cannot show it; a remembered head does.
    let cut = &whole[..3];
    assert!(check(cut, None).is_ok());
    assert!(matches!(why(cut, Some(head.into())), Why::CutOff { last: 3, remembered: 5 }));
    let hash_alone = Remembered { sequence: None, hash: head.hash };
    assert!(matches!(why(cut, Some(hash_alone)), Why::NotIncluded { .. }));

    // Everything made anew, hashes and all.
    let anew = texts(&chain(&["one", "TWO", "three", "four", "five"].map(ToOwned::to_owned)));
    assert!(check(&anew, None).is_ok());
    assert!(matches!(why(&anew, Some(lines[3].head().into())), Why::MadeAnew { sequence: 4 }));
    assert!(matches!(why(&anew, Some(Remembered { sequence: None, hash: lines[3].hash })), Why::NotIncluded { .. }));
    // What was remembered before the change is still there.
    assert!(check(&anew, Some(lines[0].head().into())).is_ok());
}

#[test]
fn a_part_is_followed_from_the_head_before_it() {
    let lines = five();
    let part = texts(&lines[2..]);
    let verified = verify(lines[1].head(), part.iter().map(String::as_str), None).unwrap();
    assert_eq!((verified.lines, verified.head), (3, lines[4].head()));
    assert!(verify(lines[0].head(), part.iter().map(String::as_str), None).is_err());
    assert_eq!(check(&[], None).unwrap().head, Head::genesis());
    assert!(matches!(why(&[], Some(lines[1].head().into())), Why::CutOff { last: 0, remembered: 2 }));
}

#[test]
fn what_is_not_shown_still_proves_its_place() {
    let mut lines = five();
    lines[1] = lines[1].clone().withheld();
    let shown = texts(&lines);
    assert!(!shown[1].contains("two"));
    assert_eq!(check(&shown, None).unwrap().withheld, 1);
    let removed = [shown[0].clone(), shown[2].clone()];
    assert!(matches!(why(&removed, None), Why::Removed { first: 2, last: 2 }));
}

#[test]
fn long_messages_are_bounded() {
    let entry = entry(0, &"é".repeat(3 * LONGEST_MESSAGE));
    assert_eq!(entry.message.chars().count(), LONGEST_MESSAGE);
    assert!(entry.message.ends_with('…'));
}

#[test]
fn remembered_heads_are_read_in_both_forms() {
    let head = five()[2].head();
    let with = Remembered::parse(&head.to_string()).unwrap();
    assert_eq!(with, Remembered { sequence: Some(3), hash: head.hash });
    assert_eq!(Remembered::parse(&head.hash.to_string()).unwrap().sequence, None);
    for wrong in ["", "3:", "x:00", "3:ABCD", &head.hash.to_string().to_uppercase(), &format!("{head} ")] {
        assert!(Remembered::parse(wrong).is_err(), "{wrong}");
    }
}

fn messages() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(".{0,12}", 2..8)
}

proptest! {
    #[test]
    fn what_was_written_verifies_and_is_read_back(messages in messages()) {
        let lines = chain(&messages);
        let texts = texts(&lines);
        for (line, text) in lines.iter().zip(&texts) {
            prop_assert_eq!(&Line::parse(text).unwrap(), line);
        }
        let verified = check(&texts, None).unwrap();
        prop_assert_eq!(verified.lines, messages.len() as u64);
        for line in &lines {
            prop_assert!(check(&texts, Some(line.head().into())).is_ok());
        }
    }

    #[test]
    fn every_changed_byte_is_found(messages in messages(), at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), other in 32_u8..127) {
        let mut texts = texts(&chain(&messages));
        let line = at.index(texts.len());
        let mut bytes = texts[line].clone().into_bytes();
        let place = byte.index(bytes.len());
        prop_assume!(bytes[place] != other && bytes[place].is_ascii());
        bytes[place] = other;
        texts[line] = String::from_utf8(bytes).unwrap();
        let broken = check(&texts, None).unwrap_err();
        // Nowhere else than where it happened.
        prop_assert_eq!(broken.at, line as u64 + 1);
        prop_assert!(matches!(broken.why, Why::Changed { .. } | Why::Unreadable(_)), "{}", broken);
    }

    #[test]
    fn every_removed_and_every_moved_line_is_found(messages in messages(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let whole = chain(&messages);
        let last = whole.last().unwrap().head();
        let (from, to) = (from.index(whole.len()), to.index(whole.len()));
        let mut removed = texts(&whole);
        removed.remove(from);
        let found = check(&removed, Some(last.into())).unwrap_err().why;
        let told = if from + 1 == whole.len() {
            matches!(found, Why::CutOff { .. })
        } else {
            matches!(found, Why::Removed { .. })
        };
        prop_assert!(told, "{}", found);
        prop_assume!(from != to);
        let mut moved = texts(&whole);
        let line = moved.remove(from);
        moved.insert(to, line);
        let found = why(&moved, None);
        prop_assert!(matches!(found, Why::Reordered { .. }), "{}", found);
    }

    #[test]
    fn nothing_made_anew_leads_to_a_remembered_head(messages in messages(), at in any::<prop::sample::Index>()) {
        let before = chain(&messages);
        let mut changed = messages.clone();
        let place = at.index(changed.len());
        changed[place].push('x');
        let anew = texts(&chain(&changed));
        prop_assert!(check(&anew, Some(before.last().unwrap().head().into())).is_err());
    }
}
