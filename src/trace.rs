//! Where a piece of work stands in a trace, as W3C Trace Context writes it.
//!
//! Work is marked by the spans of [`tracing`]; whoever records them ([`crate::telemetry`]) puts a [`TraceContext`] into
//! each. Nobody else need know whether anything is recorded: without it there is no current context, and nothing is sent.

use std::fmt;

use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

/// The header that carries it (W3C Trace Context, 3.2).
pub const HEADER: &str = "traceparent";

/// One span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not all zero.
    pub trace: [u8; 16],
    /// The span; not all zero.
    pub span: [u8; 8],
    /// Whether it is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads the header; what is not well-formed is as good as absent (W3C Trace Context, 3.2.2).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = bytes::<1>(version)?;
        // Later versions may say more behind it; this one does not.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let [flags] = bytes::<1>(flags)?;
        let context = Self { trace: bytes(trace)?, span: bytes(span)?, sampled: flags & 1 == 1 };
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    /// That of the work under way here, if it is recorded by anybody.
    pub fn current() -> Option<Self> {
        tracing::dispatcher::get_default(|dispatch| {
            let current = dispatch.current_span();
            let registry = dispatch.downcast_ref::<Registry>()?;
            let span = registry.span(current.id()?)?;
            span.scope().find_map(|span| span.extensions().get::<Self>().copied())
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", hexadecimal(&self.trace), hexadecimal(&self.span))
    }
}

/// In lower case, as the specification wants it.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(lower) {
        return None;
    }
    let mut read = [0; N];
    for (at, byte) in read.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn headers_are_read_strictly_and_written_as_they_were() {
        assert_eq!(TraceContext::parse(GOOD).unwrap().to_string(), GOOD);
        assert!(!TraceContext::parse(&GOOD.replace("-01", "-00")).unwrap().sampled);
        // A later version may say more.
        assert!(TraceContext::parse(&GOOD.replacen("00", "cc", 1)).is_some());
        assert!(TraceContext::parse(&format!("{}-more", GOOD.replacen("00", "cc", 1))).is_some());
        for bad in [
            String::new(),
            format!("{GOOD}-more"),
            GOOD.replacen("00", "ff", 1),
            GOOD.to_uppercase(),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902"),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}|[0-9a-f-]{40,70}") {
            let _read_or_not = TraceContext::parse(&text);
        }
    }
}
