//! YAML, as people read Kubernetes's objects.
//!
//! Decides how a value is written: in blocks, names plain, and as a double-quoted JSON string whatever a reader of YAML 1.1 or
//! 1.2 could take for something else. It is written here because no crate is kept up that does (serde_yaml is not), and none
//! that does writes comments; what it writes is read by PyYAML in the tests.

#![forbid(unsafe_code)]

use std::fmt::Write;

use serde_json::Value;

/// Words that are no texts to readers of YAML 1.1.
const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// A document, without a mark before it.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// A value from the beginning of a line that is indented already.
fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (number, (key, value)) in map.iter().enumerate() {
                indent(if number == 0 { 0 } else { depth }, out);
                text(key, out);
                out.push(':');
                match value {
                    Value::Object(map) if !map.is_empty() => {
                        out.push('\n');
                        indent(depth + 1, out);
                        block(value, depth + 1, out);
                    }
                    Value::Array(list) if !list.is_empty() => {
                        out.push('\n');
                        indent(depth, out);
                        block(value, depth, out);
                    }
                    _ => {
                        out.push(' ');
                        scalar(value, out);
                    }
                }
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (number, value) in list.iter().enumerate() {
                indent(if number == 0 { 0 } else { depth }, out);
                out.push_str("- ");
                block(value, depth + 1, out);
            }
        }
        _ => scalar(value, out),
    }
}

/// What stands in one line, to its end.
fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(it) => text(it, out),
        it => out.push_str(&it.to_string()),
    }
    out.push('\n');
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn text(text: &str, out: &mut String) {
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_' | b'/');
    let is_word = WORDS.iter().any(|it| text.eq_ignore_ascii_case(it));
    if text.starts_with(|it: char| it.is_ascii_alphabetic()) && text.bytes().all(plain) && !is_word {
        out.push_str(text);
        return;
    }
    for character in Value::from(text).to_string().chars() {
        match u32::from(character) {
            // What JSON lets stand and YAML does not, or what some readers break lines at.
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                let _ = write!(out, "\\u{code:04x}");
            }
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::document;

    #[test]
    fn values_are_written_as_people_write_them() {
        let value = json!({
            "a": { "b": [{ "name": "x", "list": ["y", "z"] }, "text", [1, 2]], "none": [], "empty": {} },
            "c": "OVF ENV", "d": true, "e": "true", "f": 3, "g": "3", "h": "", "i": null, "on": "a: b", "j": "l\n\u{85}",
        });
        let want = "a:\n  b:\n  - list:\n    - \"y\"\n    - z\n    name: x\n  - text\n  - - 1\n    - 2\n  empty: {}\n  none: []\n\
                    c: \"OVF ENV\"\nd: true\ne: \"true\"\nf: 3\ng: \"3\"\nh: \"\"\ni: null\nj: \"l\\n\\u0085\"\n\"on\": \"a: b\"\n";
        assert_eq!(document(&value), want);
    }
}
