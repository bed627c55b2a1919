//! Conditional requests (RFC 9110, 13): an update's entity tag is the number of its last event, so that whoever orders
//! can say which state of it they have seen.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::driver::{Seen, UpdateRecord};

/// The entity tag of an update as it is shown.
pub(super) fn etag(record: &UpdateRecord) -> HeaderValue {
    // Digits in quotes are a legal header value.
    HeaderValue::try_from(format!("\"{}\"", record.last_event())).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// What `If-Match` says the caller has seen. Without it, or with `*`, they do not care: an approval is bound by its
/// digest already, and nobody shall fail to stop a change for want of a header.
pub(super) fn seen(headers: &HeaderMap) -> Result<Seen, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(Seen(None)) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" && values.next().is_none() {
        return Ok(Seen(None));
    }
    let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let number = tag.filter(|tag| tag.bytes().all(|byte| byte.is_ascii_digit())).and_then(|tag| tag.parse().ok());
    let Some(number) = number.filter(|_| values.next().is_none()) else {
        let detail = "If-Match must be one ETag as GET of the update gives it, or *; a weak one never matches";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "stale", detail));
    };
    Ok(Seen(Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_strong_tag_or_a_star_is_a_condition() {
        let read = |values: &[&'static str]| {
            let values = values.iter().map(|value| (header::IF_MATCH, HeaderValue::from_static(value)));
            seen(&values.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            }))
        };
        assert_eq!(read(&[]).ok(), Some(Seen(None)));
        assert_eq!(read(&["*"]).ok(), Some(Seen(None)));
        assert_eq!(read(&["\"7\""]).ok(), Some(Seen(Some(7))));
        for bad in [&["7"][..], &["W/\"7\""], &["\"7\", \"8\""], &["\"7\"", "\"8\""], &["\"\""], &["\"+7\""], &[""]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
