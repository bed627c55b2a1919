//! Request bodies, read strictly: bounded in size and time, unknown members refused, all faults at once.

use std::fmt::Display;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Service;
use super::access::Admitted;
use super::problem::{Fault, Problem};

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes: usize,
    time: Duration,
}

/// Reads the JSON object that somebody sends. It comes as slowly as they like: whoever is no longer known when it is
/// complete has sent nothing.
pub(super) async fn received(
    service: &Service,
    admitted: &Admitted,
    request: Request,
) -> Result<(HeaderMap, Map<String, Value>), Problem> {
    let (parts, stream) = request.into_parts();
    let bounds = Bounds { bytes: service.bounds.body, time: service.bounds.request / 2 };
    let map = object(&parts.headers, stream, bounds).await?;
    admitted.still(service)?;
    Ok((parts.headers, map))
}

/// Reads a JSON object.
async fn object(headers: &HeaderMap, body: Body, bounds: Bounds) -> Result<Map<String, Value>, Problem> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = declared.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let detail = "the body must be declared as Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json_type", detail));
    }
    let read = tokio::time::timeout(bounds.time, Limited::new(body, bounds.bytes).collect()).await;
    let read = read.map_err(|_| {
        let detail = format!("the body did not arrive within {} s", bounds.time.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", detail)
    })?;
    let bytes = read.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let detail = format!("the body is larger than {} bytes", bounds.bytes);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "body_cut_off", "the body ended before it was complete")
        }
    })?;
    let bytes = Zeroizing::new(bytes.to_bytes().to_vec());
    // serde_json's messages quote no value, only the place; nesting deeper than 128 is an error there.
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!(
            "the body is not JSON, or is nested too deep: the mistake is at line {}, column {}",
            error.line(),
            error.column()
        );
        Problem::new(StatusCode::BAD_REQUEST, "not_json", detail)
    })?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Problem::invalid(vec![Fault { pointer: String::new(), detail: "must be a JSON object".into() }])),
    }
}

/// Takes members out of an object and notes every fault.
pub(super) struct Members<'f> {
    map: Map<String, Value>,
    pointer: String,
    faults: &'f mut Vec<Fault>,
}

impl<'f> Members<'f> {
    pub(super) fn new(map: Map<String, Value>, faults: &'f mut Vec<Fault>) -> Self {
        Self { map, pointer: String::new(), faults }
    }

    pub(super) fn fault(&mut self, name: &str, detail: impl Display) {
        let pointer = format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"));
        self.faults.push(Fault { pointer, detail: detail.to_string() });
    }

    /// A member of text; absent and null are the same.
    pub(super) fn text<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match self.map.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => {
                let text = Zeroizing::new(text);
                parse(&text).map_err(|error| self.fault(name, error)).ok()
            }
            Some(_) => {
                self.fault(name, "must be a string");
                None
            }
        }
    }

    /// As [`Members::text`], but it must be there.
    pub(super) fn required<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if matches!(self.map.get(name), None | Some(Value::Null)) {
            self.map.remove(name);
            self.fault(name, "is missing");
            return None;
        }
        self.text(name, parse)
    }

    /// A member that is a whole number and must be there.
    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        let number = self.map.remove(name).as_ref().and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        if number.is_none() {
            self.fault(name, "must be a whole number");
        }
        number
    }

    /// Whether there is such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// A member that is true or false; absent means false.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.map.remove(name) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }

    /// A member that is an object; `read` takes its members, the rest are faults.
    pub(super) fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Members<'_>) -> T) -> Option<T> {
        match self.map.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => {
                let mut inner = Members { map, pointer: format!("{}/{name}", self.pointer), faults: self.faults };
                let read = read(&mut inner);
                inner.finish();
                Some(read)
            }
            Some(_) => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// Whatever is left is unknown.
    pub(super) fn finish(mut self) {
        for name in std::mem::take(&mut self.map).keys() {
            // Somebody may have put a secret where a name belongs.
            let shown = if name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            {
                name.clone()
            } else {
                format!("(a name of {} characters)", name.chars().count())
            };
            self.fault(&shown, "is not a member that is known here");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bounds() -> Bounds {
        Bounds { bytes: 64 * 1024, time: Duration::from_secs(1) }
    }

    async fn read(text: &str) -> Result<Map<String, Value>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
        object(&headers, Body::from(text.to_owned()), bounds()).await
    }

    #[tokio::test]
    async fn deep_nesting_and_other_nonsense_is_refused() {
        for text in ["[".repeat(10_000), "{\"a\":".repeat(10_000), "{".into(), "nul".into(), String::new(), "[]".into()]
        {
            assert!(read(&text).await.is_err());
        }
        assert!(read(&format!("{{\"a\":\"{}\"}}", "x".repeat(70_000))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let drops = futures_util::stream::pending::<Result<&'static [u8], std::io::Error>>();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        assert!(object(&headers, Body::from_stream(drops), bounds()).await.is_err());
    }

    #[test]
    fn all_faults_are_told_at_once_and_none_holds_a_value() {
        let Value::Object(map) = json!({ "a": 1, "b": "DoNotLeak", "c": { "d": "x", "e": 1 }, "f": "yes", "g": 1 })
        else {
            panic!("an object")
        };
        let mut faults = Vec::new();
        let mut members = Members::new(map, &mut faults);
        members.text("a", |text| Ok::<_, String>(text.to_owned()));
        members.text("b", |_| Err::<(), _>("must be something else"));
        members.object("c", |c| c.text("d", |text| Ok::<_, String>(text.to_owned())));
        members.flag("f");
        members.required("h", |text| Ok::<_, String>(text.to_owned()));
        members.finish();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a", "/b", "/c/e", "/f", "/h", "/g"]);
        assert!(!format!("{faults:?}").contains("DoNotLeak"));
    }
}
