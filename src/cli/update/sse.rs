//! Server-sent events (HTML standard, section 9.2), read from a stream of bytes within bounds.

/// More than any event of an update has; the first one holds the whole plan.
const LONGEST: usize = 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// What to send as `Last-Event-ID` to go on after it.
    pub(super) id: Option<u64>,
    /// The payload, lines joined.
    pub(super) data: String,
}

/// A line or an event that exceeds what an update's events can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event stream holds an event of more than {LONGEST} bytes")]
pub(super) struct TooLong;

/// Reads events however the bytes are cut into pieces.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    message: Message,
    after_return: bool,
    has_data: bool,
}

impl Parser {
    /// The events that `bytes` completes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLong> {
        let mut complete = Vec::new();
        for byte in bytes {
            let second_half = std::mem::replace(&mut self.after_return, *byte == b'\r') && *byte == b'\n';
            match byte {
                _ if second_half => {}
                b'\r' | b'\n' => complete.extend(self.line_ends()?),
                _ if self.line.len() >= LONGEST => return Err(TooLong),
                other => self.line.push(*other),
            }
        }
        Ok(complete)
    }

    fn line_ends(&mut self) -> Result<Option<Message>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return Ok(std::mem::take(&mut self.has_data).then_some(message));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.message.data.len() + value.len() >= LONGEST {
                    return Err(TooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            "id" => self.message.id = value.parse().ok(),
            // `event` is in the payload, too; a comment has an empty field name; others are for browsers.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b": keep-alive\n\nid: 3\r\nevent: observed\r\ndata: {\"a\":1}\r\n\r\nid:4\ndata:one\ndata: two\n\n";

    #[test]
    fn events_are_read_however_they_are_cut() {
        let expected =
            vec![Message { id: Some(3), data: "{\"a\":1}".into() }, Message { id: Some(4), data: "one\ntwo".into() }];
        for size in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let found: Vec<_> = STREAM.chunks(size).flat_map(|piece| parser.feed(piece).unwrap()).collect();
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_event_that_was_cut_off_is_none() {
        assert_eq!(Parser::default().feed(b"id: 1\ndata: half\n"), Ok(Vec::new()));
    }

    #[test]
    fn endless_lines_and_endless_events_are_refused() {
        let half = vec![b'x'; LONGEST / 2 + 1];
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&half), Ok(Vec::new()));
        assert_eq!(parser.feed(&half), Err(TooLong));

        let mut parser = Parser::default();
        let line = [b"data:", half.as_slice(), b"\n"].concat();
        assert_eq!(parser.feed(&line), Ok(Vec::new()));
        assert_eq!(parser.feed(&line), Err(TooLong));
    }
}
