//! Values of properties: what they may be, and the macros in them.
//!
//! Decides whether a value fits its type and its qualifiers, and which other properties it takes in. A reason never holds
//! the value.
//!
//! The rules: DSP0243, 9.5 with tables 6 and 7; DSP0004 for the ranges; what vSphere writes beyond that.

#![forbid(unsafe_code)]

mod qualifiers;

pub use qualifiers::Qualifiers;

/// The type of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    String,
    /// `true` or `false`; vSphere writes them with capitals.
    Boolean,
    /// A number without fraction, from and to; vSphere's `int` has no bounds.
    Integer(Option<(i128, i128)>),
    /// A number, of 32 or of 64 bits.
    Real(u8),
}

/// What a type's name means.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// One of DSP0243's.
    Standard(Type),
    /// A vendor's, and the name that DSP0243 has for it.
    Foreign(Type, &'static str),
    /// Nobody's.
    Unknown,
}

impl Type {
    /// The names of DSP0243, table 6.
    pub const NAMES: &[&str] = &[
        "uint8", "sint8", "uint16", "sint16", "uint32", "sint32", "uint64", "sint64", "string", "boolean",
        "real32", "real64",
    ];

    /// The type of this name.
    pub fn named(name: &str) -> Named {
        use Named::{Foreign, Standard};
        let integer = |from: i128, to: i128| Standard(Self::Integer(Some((from, to))));
        match name {
            "uint8" => integer(0, u8::MAX.into()),
            "sint8" => integer(i8::MIN.into(), i8::MAX.into()),
            "uint16" => integer(0, u16::MAX.into()),
            "sint16" => integer(i16::MIN.into(), i16::MAX.into()),
            "uint32" => integer(0, u32::MAX.into()),
            "sint32" => integer(i32::MIN.into(), i32::MAX.into()),
            "uint64" => integer(0, u64::MAX.into()),
            "sint64" => integer(i64::MIN.into(), i64::MAX.into()),
            "string" => Standard(Self::String),
            "boolean" => Standard(Self::Boolean),
            "real32" => Standard(Self::Real(32)),
            "real64" => Standard(Self::Real(64)),
            "int" | "integer" => Foreign(Self::Integer(None), "sint64"),
            "real" => Foreign(Self::Real(64), "real64"),
            "bool" => Foreign(Self::Boolean, "boolean"),
            "" | "password" | "ip" | "expression" => Foreign(Self::String, "string"),
            _ if name.starts_with("ip:") => Foreign(Self::String, "string"),
            _ => match Self::NAMES.iter().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) => match Self::named(known) {
                    Standard(kind) => Foreign(kind, known),
                    other => other,
                },
                None => Named::Unknown,
            },
        }
    }

    /// DSP0243's name of it.
    pub fn name(self) -> &'static str {
        let is_it = |name: &&&str| matches!(Self::named(name), Named::Standard(kind) if kind == self);
        Self::NAMES.iter().find(is_it).copied().unwrap_or("sint64")
    }

    /// Whether a value is one of the type.
    ///
    /// # Errors
    /// What it would have to be.
    pub fn check(self, value: &str) -> Result<(), String> {
        let fits = match self {
            Self::String => true,
            Self::Boolean => ["true", "false"].iter().any(|it| value.eq_ignore_ascii_case(it)),
            Self::Integer(None) => {
                let digits = value.strip_prefix('-').unwrap_or(value);
                !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
            }
            Self::Integer(Some((from, to))) => {
                value.parse().is_ok_and(|it: i128| (from..=to).contains(&it)) && !value.starts_with('+')
            }
            Self::Real(bits) => {
                let is_finite = match bits {
                    32 => value.parse::<f32>().is_ok_and(f32::is_finite),
                    _ => value.parse::<f64>().is_ok_and(f64::is_finite),
                };
                is_finite && value.bytes().all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it))
            }
        };
        if fits {
            return Ok(());
        }
        Err(match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Integer(Some((from, to))) => format!("a number from {from} to {to}"),
            Self::Integer(None) => "a whole number".to_owned(),
            Self::Real(32) => "a number of 32 bits".to_owned(),
            Self::Real(_) | Self::String => "a number".to_owned(),
        })
    }
}

/// A piece of a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// The value of the parent's property of this name.
    Macro(&'a str),
}

/// The pieces of a value.
pub fn pieces(value: &str) -> impl Iterator<Item = Piece<'_>> {
    let (mut rest, mut found) = (value, None);
    std::iter::from_fn(move || {
        if let Some(name) = found.take() {
            return Some(Piece::Macro(name));
        }
        let Some((before, (name, after))) =
            rest.split_once("${").and_then(|(before, open)| Some((before, open.split_once('}')?)))
        else {
            return Some(std::mem::take(&mut rest)).filter(|it| !it.is_empty()).map(Piece::Text);
        };
        rest = after;
        if before.is_empty() {
            return Some(Piece::Macro(name));
        }
        found = Some(name);
        Some(Piece::Text(before))
    })
}

/// Whether a value has a macro in it.
pub fn has_macro(value: &str) -> bool {
    pieces(value).any(|it| matches!(it, Piece::Macro(_)))
}

#[cfg(test)]
mod tests {
    use super::{Named, Piece, Type, pieces};

    fn kind(name: &str) -> Type {
        match Type::named(name) {
            Named::Standard(kind) | Named::Foreign(kind, _) => kind,
            Named::Unknown => panic!("{name}"),
        }
    }

    #[test]
    fn every_type_knows_its_values() {
        for (name, good, bad) in [
            ("uint8", &["0", "255"][..], &["256", "-1", "", "x", "1.0", "+1", " 1"][..]),
            ("sint8", &["-128", "127"], &["128", "-129"]),
            ("uint64", &["18446744073709551615"], &["18446744073709551616"]),
            ("boolean", &["true", "False", "TRUE"], &["yes", "1", ""]),
            ("real32", &["1", "-1.5e3", ".5"], &["inf", "NaN", "", "1,5", "1e39"]),
            ("real64", &["1e39"], &["1e999"]),
            ("int", &["-99999999999999999999999999999999999999999999"], &["-", "1x"]),
            ("string", &["", "anything"], &[]),
        ] {
            for value in good {
                assert_eq!(kind(name).check(value), Ok(()), "{name} {value}");
            }
            for value in bad {
                assert!(kind(name).check(value).is_err(), "{name} {value}");
            }
        }
    }

    #[test]
    fn names_of_vendors_are_known_for_what_they_are() {
        assert_eq!(Type::named("String"), Named::Foreign(Type::String, "string"));
        assert_eq!(Type::named("password"), Named::Foreign(Type::String, "string"));
        assert_eq!(Type::named("ip:VM Network"), Named::Foreign(Type::String, "string"));
        assert_eq!(Type::named("unit16"), Named::Unknown);
    }

    #[test]
    fn every_type_has_its_name() {
        for name in Type::NAMES {
            assert_eq!(kind(name).name(), *name);
        }
        assert_eq!(kind("int").name(), "sint64");
    }

    #[test]
    fn values_are_cut_at_macros() {
        use Piece::{Macro, Text};
        for (value, want) in [
            ("", &[][..]),
            ("a", &[Text("a")]),
            ("${a} ", &[Macro("a"), Text(" ")]),
            ("http://${a.b}/${c}", &[Text("http://"), Macro("a.b"), Text("/"), Macro("c")]),
            ("$a $${b}", &[Text("$a $"), Macro("b")]),
            ("${open", &[Text("${open")]),
        ] {
            assert_eq!(pieces(value).collect::<Vec<_>>(), want, "{value}");
        }
    }
}
