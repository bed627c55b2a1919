//! Events as the journal stores them: JSON under a version. A version is never given a second meaning.

use crate::update::Event;

/// The version that this program writes.
pub const EVENT_VERSION: u32 = 2;

/// Why an event cannot be coded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A later program wrote it.
    #[error(
        "event version {found} is not known to this program, which knows up to {EVENT_VERSION}: run the version that wrote it"
    )]
    UnknownVersion {
        /// The version found.
        found: u32,
    },
    /// Not JSON of the version's shape.
    #[error("event is not of its version's shape")]
    Malformed(#[source] serde_json::Error),
}

/// The stored form of an event, in [`EVENT_VERSION`].
pub(super) fn encode(event: &Event) -> Result<String, CodecError> {
    serde_json::to_string(event).map_err(CodecError::Malformed)
}

/// Reads what [`encode`] wrote, in this version or an earlier one.
pub(super) fn decode(version: u32, body: &str) -> Result<Event, CodecError> {
    match version {
        // Version 2 knows more events, and more of some, than version 1.
        1 | 2 => serde_json::from_str(body).map_err(CodecError::Malformed),
        found => Err(CodecError::UnknownVersion { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::{Ending, State};

    /// A cold update as a program that knew version 1 alone recorded it.
    const VERSION_1: &str = include_str!("codec/version_1.jsonl");

    #[test]
    fn what_version_1_recorded_is_followed_to_the_same_end() {
        let events: Vec<Event> = VERSION_1.lines().map(|body| decode(1, body).unwrap()).collect();
        // The plan's digest, recorded then, agrees with its contents, or it would not have been read.
        let state = State::replay(&events).unwrap().unwrap();
        assert_eq!((events.len(), state.ending()), (19, Some(&Ending::Verified)));
        // Written again, nothing that came later is in it, the word of a refusal and of an approval aside.
        for (event, body) in events.iter().zip(VERSION_1.lines()) {
            assert_eq!(encode(event).unwrap(), body);
        }
    }

    #[test]
    fn the_present_version_reads_what_it_wrote() {
        let event = Event::RollbackDecided { why: "KMS said \"no\"".into() };
        assert_eq!(decode(EVENT_VERSION, &encode(&event).unwrap()).unwrap(), event);
        // The stored form is a promise to later versions.
        assert_eq!(encode(&event).unwrap(), r#"{"event":"rollback_decided","why":"KMS said \"no\""}"#);
    }

    #[test]
    fn a_later_version_is_named() {
        let error = decode(7, "{}").unwrap_err();
        assert!(error.to_string().starts_with("event version 7 is not known"), "{error}");
        assert!(matches!(decode(1, r#"{"event":"approval_requested","more":1}"#), Err(CodecError::Malformed(_))));
    }
}
