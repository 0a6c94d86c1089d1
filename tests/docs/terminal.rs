//! What a program has shown in a terminal: lines of painted text.
//!
//! Knows the colours of ECMA-48 that the demo uses; any other control sequence is passed over. Shared as `markdown` is.

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// How it is painted: the number in `ESC [ number m`, and 0 where it is not.
    pub(crate) paint: u8,
    pub(crate) text: String,
}

pub(crate) type Line = Vec<Span>;

/// The lines of a recording.
pub(crate) fn lines(recorded: &str) -> Vec<Line> {
    recorded.lines().map(spans).collect()
}

fn spans(line: &str) -> Line {
    let mut spans = Line::new();
    let mut paint = 0;
    let mut pieces = line.split("\x1b[");
    let mut add = |paint: u8, text: &str| {
        if !text.is_empty() {
            spans.push(Span { paint, text: text.to_owned() });
        }
    };
    add(paint, pieces.next().unwrap_or_default());
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(piece.len());
        let (sequence, rest) = piece.split_at(end);
        if let Some(text) = rest.strip_prefix('m') {
            paint = sequence.parse().unwrap_or(0);
            add(paint, text);
        } else {
            add(paint, rest.get(1..).unwrap_or_default());
        }
    }
    spans
}

/// A line without its colours.
pub(crate) fn plain(line: &Line) -> String {
    line.iter().map(|span| span.text.as_str()).collect()
}
