//! Messages of a connection that stays open, cut out of its bytes: server-sent events, or lines of JSON.

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// The name of the event, where it has one.
    pub name: Option<String>,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// What it says.
    pub data: String,
}

/// Cuts bytes into messages.
#[derive(Debug)]
pub(super) struct Cutter {
    events: bool,
    longest: usize,
    bytes: Vec<u8>,
    next: Message,
    has_data: bool,
}

impl Cutter {
    /// A cutter of server-sent events, else of lines; a message may have so many bytes.
    pub fn new(events: bool, longest: usize) -> Cutter {
        Cutter { events, longest, bytes: Vec::new(), next: Message::default(), has_data: false }
    }

    /// Most bytes of a message.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Takes bytes in and gives the messages that are whole; none if one is too long.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<Message>> {
        self.bytes.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut from = 0;
        while let Some(length) = self.bytes[from..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.bytes[from..from + length]).trim_end_matches('\r').to_owned();
            from += length + 1;
            messages.extend(self.line(&line));
            if self.next.data.len() > self.longest {
                return None;
            }
        }
        self.bytes.drain(..from);
        (self.bytes.len() <= self.longest).then_some(messages)
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if !self.events {
            // An empty line is a sign of life.
            return (!line.trim().is_empty()).then(|| Message { data: line.to_owned(), ..Message::default() });
        }
        if line.is_empty() {
            let message = std::mem::take(&mut self.next);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.next.name = Some(value.to_owned()),
            "id" => self.next.id = Some(value.to_owned()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.next.data.push('\n');
                }
                self.next.data.push_str(value);
            }
            // A comment is a sign of life; `retry` is ours to decide.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: bool, text: &str, piece: usize) -> Vec<Message> {
        let mut cutter = Cutter::new(events, 1_000);
        text.as_bytes().chunks(piece).flat_map(|bytes| cutter.push(bytes).unwrap()).collect()
    }

    #[test]
    fn events_are_cut_wherever_the_bytes_are() {
        let text = ":thump\n\nevent: update\ndata: {\"a\":\ndata: \"가\"}\nid: 7\r\n\r\nevent: ping\n\ndata:x\n\n";
        for piece in [1, 2, 7, 1_000] {
            let found = all(true, text, piece);
            assert_eq!(
                found,
                [
                    Message { name: Some("update".into()), id: Some("7".into()), data: "{\"a\":\n\"가\"}".into() },
                    Message { name: None, id: None, data: "x".into() },
                ],
                "{piece}"
            );
        }
    }

    #[test]
    fn lines_are_messages_and_empty_ones_are_not() {
        for piece in [1, 3, 100] {
            let data: Vec<String> =
                all(false, "{\"a\":1}\r\n\r\n\r\n{\"b\":2}\n", piece).into_iter().map(|one| one.data).collect();
            assert_eq!(data, ["{\"a\":1}", "{\"b\":2}"], "{piece}");
        }
    }

    #[test]
    fn a_message_that_does_not_end_is_given_up() {
        for (events, start) in [(false, ""), (true, "data: ")] {
            let mut cutter = Cutter::new(events, 1_000);
            assert_eq!(cutter.push(start.as_bytes()), Some(vec![]));
            assert_eq!(cutter.push(&[b'x'; 2_000]), None);
        }
        let mut cutter = Cutter::new(true, 1_000);
        assert_eq!(cutter.push("data: 0123456789\n".repeat(100).as_bytes()), None, "line by line");
    }
}
