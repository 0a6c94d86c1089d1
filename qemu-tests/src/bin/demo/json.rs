//! Lays out a line of JSON for reading: members in their order, what is short on one line.
//!
//! The text is kept as it came but for the space between its parts; a parsed value would lose the order in
//! which the agent says things.

/// `text`, which must be JSON, in lines of at most `width` where its parts allow it.
pub(crate) fn laid_out(text: &str, width: usize) -> String {
    let mut out = String::new();
    // The outermost level is always broken, so that each of its members has its line.
    lay_out(text, 0, 0, width, &mut out);
    out
}

fn lay_out(text: &str, indent: usize, before: usize, width: usize, out: &mut String) {
    let text = text.trim();
    let short = indent > 0 && indent + before + text.chars().count() < width;
    if short || !text.starts_with(['{', '[']) || text.len() <= 2 {
        out.push_str(text);
        return;
    }
    let (open, inner, close) = (&text[..1], &text[1..text.len() - 1], &text[text.len() - 1..]);
    let step = indent + 2;
    out.push_str(open);
    for (number, member) in split(inner, ',').into_iter().enumerate() {
        out.push_str(if number == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(step));
        match split(member, ':').as_slice() {
            [key, value] => {
                out.push_str(&format!("{}: ", key.trim()));
                lay_out(value, step, key.trim().len() + 2, width, out);
            }
            _ => lay_out(member, step, 0, width, out),
        }
    }
    out.push_str(&format!("\n{}{close}", " ".repeat(indent)));
}

/// The parts of `text` between those `separator`s that lie in no string, object or array.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begin, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if character == separator && depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::laid_out;

    #[test]
    fn members_keep_their_order_and_short_ones_their_line() {
        let text = r#"{"b":1,"a":{"x":"a,}\"b","y":[]},"long":[{"k":"0123456789"},{"k":"0123456789"}]}"#;
        let expected = r#"{
  "b": 1,
  "a": {"x":"a,}\"b","y":[]},
  "long": [
    {"k":"0123456789"},
    {"k":"0123456789"}
  ]
}"#;
        assert_eq!(laid_out(text, 40), expected);
    }
}
