//! Events as the journal stores them: JSON under a version. A version is never given a second meaning.

use crate::update::Event;

/// The version that this program writes.
pub const EVENT_VERSION: u32 = 1;

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
        1 => serde_json::from_str(body).map_err(CodecError::Malformed),
        found => Err(CodecError::UnknownVersion { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_reads_what_it_wrote() {
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
