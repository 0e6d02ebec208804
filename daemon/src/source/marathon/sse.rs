//! The framing of an event stream: bytes in, events out. No I/O and no clock.
//!
//! Fed by `stream` with whatever one read gave. Follows the WHATWG description as far as Marathon
//! and its proxies need it: lines end with CR, LF or CRLF, split anywhere; comments and unknown
//! fields are ignored; several `data` lines are one text. A stream that ends drops what is
//! unfinished, because it was not said completely.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field, empty when there was none (Marathon ≤ 0.9).
    pub name: String,
    /// The `data` field. Bytes that are no UTF-8 are U+FFFD.
    pub data: String,
}

/// An event longer than the decoder may hold. The stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {cap} bytes")]
pub struct TooLong {
    /// The most bytes allowed.
    pub cap: usize,
}

/// The state between two reads.
#[derive(Debug)]
pub struct Decoder {
    cap: usize,
    /// The line so far.
    line: Vec<u8>,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line has ended yet: a byte order mark may stand here.
    first: bool,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
}

impl Decoder {
    /// A decoder at the start of a stream that holds at most `cap` bytes of one event.
    pub fn new(cap: usize) -> Self {
        Self { cap, line: Vec::new(), after_cr: false, first: true, name: Vec::new(), data: None }
    }

    /// Takes the next bytes and gives the events they complete.
    ///
    /// # Errors
    /// When an event is too long. Events completed before it in the same bytes are lost; whoever
    /// reads events as hints to refetch loses nothing.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n'));
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.hold(part)?;
            let Some((&terminator, rest)) = rest.split_first() else { break };
            self.after_cr = terminator == b'\r';
            events.extend(self.end_of_line());
            bytes = rest;
        }
        Ok(events)
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), TooLong> {
        let held = self.line.len() + self.name.len() + self.data.as_ref().map_or(0, Vec::len);
        if held + part.len() > self.cap {
            return Err(TooLong { cap: self.cap });
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if self.first => rest,
            _ => &line,
        };
        self.first = false;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = match line.iter().position(|b| *b == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            // Comments (an empty field), `id`, `retry` and whatever comes.
            _ => (),
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        Some(Event {
            name: String::from_utf8_lossy(&name).into_owned(),
            data: String::from_utf8_lossy(&data).into_owned(),
        })
    }
}

/// Room for the heaviest deployment event seen (7.5 MB), twice over.
pub const CAP: usize = 16 << 20;

#[cfg(test)]
mod tests;
