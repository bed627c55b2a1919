//! Turns the right answer into what is sent: as it is, or bent by the faults that act on the request.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{board::Acting, payload, service::Answer, wire::Refusal};
use crate::sandbox::fault::{Fault, Layer};

const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// What goes onto the connection.
#[derive(Debug)]
pub(super) enum Reply {
    /// Proper HTTP.
    Http(Response<Full<Bytes>>),
    /// Bytes that a proper HTTP server would not send; the connection ends with them.
    Raw(Vec<Act>),
}

/// One thing done on a connection outside HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Send this.
    Send(Bytes),
    /// Send this over and over with this pause; None means until the client goes or time is up.
    Repeat { bytes: Bytes, times: Option<u64>, pause: Duration },
    /// Send this byte by byte with this pause.
    Drip { bytes: Bytes, pause: Duration },
    /// Send nothing until the client goes or time is up.
    Stall,
    /// Reset the connection.
    Reset,
}

/// Status, media type and body: an answer before it is HTTP.
#[derive(Clone, Debug)]
struct Content {
    status: u16,
    media_type: &'static str,
    body: Bytes,
}

impl Content {
    fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, media_type: "application/json", body: body.into() }
    }

    fn html(status: u16, title: &str) -> Self {
        let body =
            format!("<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n");
        Self { status, media_type: "text/html", body: body.into() }
    }
}

/// Bends `answer` as far as `acting` says; `now` is what the Date header tells.
pub(super) fn compose(answer: &Answer, authenticated: bool, acting: &Acting, now: SystemTime) -> Reply {
    let content = match (acting.in_layer(Layer::Refusal), answer) {
        (Some(fault), _) if authenticated || fault == Fault::AuthenticationFailedException => refusal(fault),
        (_, Answer::Success(value)) => {
            let fault = [Layer::Health, Layer::KeyMetadata, Layer::Cipher].into_iter().find_map(|l| acting.in_layer(l));
            let body = fault.map_or_else(|| value.to_string(), |fault| payload::bend(fault, value.clone()));
            Content::json(200, body)
        }
        (_, Answer::Refused(refusal)) => Content::json(refusal.name.status(), refusal.body()),
        (_, Answer::MethodNotAllowed) => Content { status: 405, media_type: "", body: Bytes::new() },
    };
    match acting.in_layer(Layer::Answer) {
        Some(fault) => bend(fault, content, acting, now),
        None => Reply::Http(response(content, now)),
    }
}

fn refusal(fault: Fault) -> Content {
    use super::ErrorName as Name;
    let name = match fault {
        Fault::ValidationException => Name::ValidationException,
        Fault::InvalidStateException => Name::InvalidStateException,
        Fault::InvalidCiphertextException => Name::InvalidCiphertextException,
        Fault::InvalidKeyUsageException => Name::InvalidKeyUsageException,
        Fault::AuthenticationFailedException => Name::AuthenticationFailedException,
        Fault::AccessDeniedException => Name::AccessDeniedException,
        Fault::KeyNotFoundException => Name::KeyNotFoundException,
        Fault::InvalidUriPathException => Name::InvalidUriPathException,
        Fault::ThrottlingException | Fault::ThrottlingEverySecond => Name::ThrottlingException,
        Fault::UnsupportedOperationException => Name::UnsupportedOperationException,
        Fault::DependencyTimeoutException => Name::DependencyTimeoutException,
        Fault::ErrorNameUnknown => return Content::json(400, r#"{"errorName":"TeapotException"}"#),
        Fault::ErrorNameMissing => return Content::json(500, r#"{"message":"something went wrong"}"#),
        Fault::ErrorMessageOverlong => {
            let body = serde_json::json!({ "errorName": Name::InternalException, "errorMessage": "x".repeat(600) });
            return Content::json(500, body.to_string());
        }
        Fault::ErrorMessageNotAscii => {
            let body =
                serde_json::json!({ "errorName": Name::InternalException, "errorMessage": "sch\u{f6}n\u{2603}\u{7}" });
            return Content::json(500, body.to_string());
        }
        _ => Name::InternalException,
    };
    let status = if fault == Fault::ErrorWithStatus200 { 200 } else { name.status() };
    Content::json(status, Refusal::new(name, "refused on command").body())
}

fn bend(fault: Fault, mut content: Content, acting: &Acting, now: SystemTime) -> Reply {
    match fault {
        Fault::StallAfterRequest => return Reply::Raw(vec![Act::Stall]),
        Fault::CloseWithoutAnswer => return Reply::Raw(Vec::new()),
        Fault::ResetWithoutAnswer => return Reply::Raw(vec![Act::Reset]),
        Fault::DripAnswer => {
            let bytes = [head(&content, content.body.len(), now).as_bytes(), &content.body].concat().into();
            return Reply::Raw(vec![Act::Drip { bytes, pause: acting.drip_pause() }]);
        }
        Fault::ConnectionCloseAfterEach => {
            let mut response = response(content, now);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Reply::Http(response);
        }
        Fault::StatusLineGarbage => return send("ICY 200 hello\r\ncontent-length: 2\r\n\r\n{}"),
        Fault::Http09Answer => return Reply::Raw(vec![Act::Send(content.body)]),
        Fault::TruncatedBody => {
            let head = head(&content, content.body.len() + 100, now);
            return Reply::Raw(vec![Act::Send(head.into()), Act::Send(content.body)]);
        }
        Fault::ChunkedGarbage => return chunked("these are no chunks\r\n\r\n"),
        Fault::HugeHeaders | Fault::EndlessHeaders => {
            let line = Bytes::from(format!("x-padding: {}\r\n", "x".repeat(1011)));
            let times = (fault == Fault::HugeHeaders).then_some(1024);
            let flood = Act::Repeat { bytes: line, times, pause: Duration::ZERO };
            return Reply::Raw(vec![Act::Send("HTTP/1.1 200 OK\r\n".into()), flood, Act::Send("\r\n".into())]);
        }
        Fault::InformationalFlood => {
            let bytes = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
            return Reply::Raw(vec![Act::Repeat { bytes, times: None, pause: Duration::from_millis(1) }]);
        }
        Fault::HugeBody => {
            let spaces = Act::Repeat { bytes: vec![b' '; 50_000].into(), times: Some(1000), pause: Duration::ZERO };
            return Reply::Raw(vec![Act::Send(head(&content, 50_000_000, now).into()), spaces]);
        }
        Fault::EndlessBody => {
            let Reply::Raw(mut acts) = chunked("") else { return chunked("") };
            let bytes = Bytes::from(format!("400\r\n{}\r\n", " ".repeat(0x400)));
            acts.push(Act::Repeat { bytes, times: None, pause: Duration::from_millis(1) });
            return Reply::Raw(acts);
        }
        Fault::GzipBomb => {
            let mut response = response(Content::json(200, payload::gzip_bomb()), now);
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return Reply::Http(response);
        }
        Fault::EmptyBody => content = Content::json(200, Bytes::new()),
        Fault::Html200 => content = Content::html(200, "Welcome"),
        Fault::Html400 => content = Content::html(400, "400 No required SSL certificate was sent"),
        Fault::Html403 => content = Content::html(403, "403 Forbidden"),
        Fault::Html404 => content = Content::html(404, "404 Not Found"),
        Fault::Html502 => content = Content::html(502, "502 Bad Gateway"),
        Fault::Redirect301 | Fault::Redirect302 | Fault::Redirect307 => {
            let status = match fault {
                Fault::Redirect301 => 301,
                Fault::Redirect302 => 302,
                _ => 307,
            };
            let mut response = response(Content::html(status, "Moved"), now);
            let location = HeaderValue::from_static("https://elsewhere.invalid/kms/xks/v1/health");
            response.headers_mut().insert(header::LOCATION, location);
            return Reply::Http(response);
        }
        Fault::ContentTypeWrong => content.media_type = "text/plain",
        Fault::Status500GoodBody => content.status = 500,
        Fault::BodyNotUtf8 => content = Content::json(200, Bytes::from_static(b"{\"\xff\xfe\": \"\xc3\x28\"}")),
        Fault::JsonNestedDeep => content = Content::json(200, "[".repeat(10_000) + &"]".repeat(10_000)),
        Fault::JsonTrailingGarbage => content.body = [&content.body, &b"} and more"[..]].concat().into(),
        Fault::JsonTruncated => content.body.truncate(content.body.len() / 2),
        Fault::JsonNotObject => content = Content::json(200, "[1, 2, 3]"),
        // slow-answer has been waited for already; the faults of other layers do not come here.
        _ => {}
    }
    Reply::Http(response(content, now))
}

fn send(text: &'static str) -> Reply {
    Reply::Raw(vec![Act::Send(Bytes::from_static(text.as_bytes()))])
}

fn chunked(text: &'static str) -> Reply {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    Reply::Raw(vec![Act::Send(head.into()), Act::Send(text.into())])
}

fn response(content: Content, now: SystemTime) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.body));
    *response.status_mut() = StatusCode::from_u16(content.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !content.media_type.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content.media_type));
    }
    if content.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        headers.insert(header::DATE, date);
    }
    response
}

fn head(content: &Content, length: usize, now: SystemTime) -> String {
    let Content { status, media_type, .. } = content;
    let date = http_date(now);
    format!("HTTP/1.1 {status} -\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\ndate: {date}\r\n\r\n")
}

fn http_date(now: SystemTime) -> String {
    OffsetDateTime::from(now).format(IMF_FIXDATE).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_is_an_imf_fixdate() {
        let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date(instant), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
