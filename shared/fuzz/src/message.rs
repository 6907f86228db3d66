//! An input of several parts: a line, headers, and after an empty line a body.

pub(crate) struct Message<'a> {
    pub first: &'a str,
    lines: Vec<&'a str>,
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&bytes[..end], &bytes[end + 2..]),
            None => (bytes, &[][..]),
        };
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        Some(Self {
            first: lines.next().unwrap_or_default(),
            lines: lines.collect(),
            body,
        })
    }

    /// Names and values, in their order.
    pub fn headers(&self) -> Vec<(String, String)> {
        let pairs = self.lines.iter().map(|line| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (
                name.to_owned(),
                value.strip_prefix(' ').unwrap_or(value).to_owned(),
            )
        });
        pairs.collect()
    }
}
