//! From TOML's values to our types.
//!
//! Decides what fits into what, in serde's words, and where it stands. The crate `toml` can do so too, but makes code for
//! every value that TOML has, dates and enums with content included, for each of our types: 88 KiB more
//! (docs/decisions/009). Here a type gets code for the values that it can take; any other is one shared complaint.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::slice;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer, UsizeDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer};
use serde::de::{MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeString, DeTable, DeValue};

/// What is wrong, and the byte at which it stands where that is known.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) message: String,
    pub(crate) at: Option<usize>,
}

impl Error {
    fn or_at(mut self, byte: usize) -> Self {
        self.at = self.at.or(Some(byte));
        self
    }
}

impl From<toml::de::Error> for Error {
    fn from(error: toml::de::Error) -> Self {
        Self { message: error.message().to_owned(), at: error.span().map(|span| span.start) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), at: None }
    }
}

/// Reads TOML.
///
/// # Errors
/// The text is no TOML, or not as `T` wants it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read(DeTable::parse(text)?.into_inner())
}

/// Reads a table.
///
/// # Errors
/// It is not as `T` wants it.
pub(crate) fn read<T: DeserializeOwned>(table: DeTable<'_>) -> Result<T, Error> {
    Node(&Spanned::new(0..0, DeValue::Table(table))).give(PhantomData)
}

/// A value, and where it stands.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Spanned<DeValue<'a>>);

impl Node<'_> {
    fn start(self) -> usize {
        self.0.span().start
    }

    /// Gives the value to whoever wants one; what is wrong and has no place of its own stands where the value begins.
    fn give<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self).map_err(|error| error.or_at(self.start()))
    }

    /// The complaint of whoever wanted something else.
    fn unfit(self, wanted: &dyn serde::de::Expected) -> Error {
        let found = match self.0.get_ref() {
            DeValue::String(text) => Unexpected::Str(text),
            DeValue::Integer(number) => {
                integer(number).map_or(Unexpected::Other("large integer"), Unexpected::Signed)
            }
            DeValue::Float(number) => {
                float(number).map_or(Unexpected::Other("large number"), Unexpected::Float)
            }
            DeValue::Boolean(truth) => Unexpected::Bool(*truth),
            DeValue::Datetime(_) => Unexpected::Other("date or time without quotes"),
            DeValue::Array(_) => Unexpected::Seq,
            DeValue::Table(_) => Unexpected::Map,
        };
        Error::invalid_type(found, wanted)
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Error;

    /// Whatever it is: for those who take several kinds.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::String(_) => self.deserialize_str(visitor),
            DeValue::Integer(_) => self.deserialize_i64(visitor),
            DeValue::Float(_) => self.deserialize_f64(visitor),
            DeValue::Boolean(_) => self.deserialize_bool(visitor),
            DeValue::Datetime(_) => Err(self.unfit(&visitor)),
            DeValue::Array(_) => self.deserialize_seq(visitor),
            DeValue::Table(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::Boolean(truth) => visitor.visit_bool(*truth),
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::Integer(number) => match integer(number) {
                Some(number) => visitor.visit_i64(number),
                None => Err(Error::custom("the number has more than 64 bits")),
            },
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::Float(number) => match float(number) {
                Some(number) => visitor.visit_f64(number),
                None => Err(Error::custom("the number is too large")),
            },
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::Array(items) => visitor.visit_seq(Items(items.iter())),
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::Table(table) => visitor.visit_map(Entries { rest: table.iter(), value: None }),
            _ => Err(self.unfit(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if serde_spanned::de::is_spanned(name) {
            return visitor.visit_map(Place { fields: fields.iter(), node: self });
        }
        self.deserialize_map(visitor)
    }

    /// What is there is not null.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// One word of several; none of ours has content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_enum(word(text)),
            _ => Err(self.unfit(&visitor)),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// One that is infinite without saying so is too large.
fn float(number: &DeFloat<'_>) -> Option<f64> {
    let said = number.as_str().parse().ok();
    said.filter(|said: &f64| said.is_finite() || !number.as_str().contains(|c: char| c.is_ascii_digit()))
}

fn word(text: &str) -> StrDeserializer<'_, Error> {
    text.into_deserializer()
}

/// The rest of an array.
struct Items<'a>(slice::Iter<'a, Spanned<DeValue<'a>>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| Node(item).give(seed)).transpose()
    }
}

/// The rest of a table, and the value of the key that was given last.
struct Entries<'a, I> {
    rest: I,
    value: Option<&'a Spanned<DeValue<'a>>>,
}

impl<'a, 'de, I> MapAccess<'de> for Entries<'a, I>
where
    I: Iterator<Item = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)>,
{
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(word(key.get_ref())).map(Some).map_err(|error| error.or_at(key.span().start))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value without a key"))?;
        Node(value).give(seed)
    }
}

/// A value with its place, as [`Spanned`] asks for it: begin, end, value, by the names that it gives them.
struct Place<'a> {
    fields: slice::Iter<'static, &'static str>,
    node: Node<'a>,
}

impl<'de> MapAccess<'de> for Place<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let name = self.fields.next().map(|name| BorrowedStrDeserializer::new(name));
        name.map(|name| seed.deserialize(name)).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let number = |number: usize| -> UsizeDeserializer<Error> { number.into_deserializer() };
        match self.fields.len() {
            2 => seed.deserialize(number(self.node.0.span().start)),
            1 => seed.deserialize(number(self.node.0.span().end)),
            _ => self.node.give(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use serde::Deserialize;
    use std::collections::BTreeMap;
    use toml::Spanned;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct All {
        text: Option<Spanned<String>>,
        #[serde(default)]
        truth: bool,
        count: Option<i64>,
        #[serde(default)]
        words: Vec<Spanned<Word>>,
        any: Option<toml::Value>,
        inner: Option<Box<All>>,
        #[serde(default)]
        by_name: BTreeMap<String, i64>,
        short: Option<Spanned<Short>>,
    }

    /// A text that is judged after it was read.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(try_from = "String")]
    struct Short(String);

    impl TryFrom<String> for Short {
        type Error = &'static str;

        fn try_from(text: String) -> Result<Self, Self::Error> {
            if text.len() < 3 { Ok(Self(text)) } else { Err("too long") }
        }
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        ThisOne,
        Other,
    }

    /// The crate's own reader is the judge of what is right, and of where what is wrong stands.
    #[test]
    fn reads_as_the_toml_crate_does() {
        for text in [
            "",
            "text = 'a'\ntruth = true\ncount = -3\nwords = ['this-one', \n 'other']",
            "any = 1\n[inner]\nany = [1, 2.5, 'x', { y = false }]\n[inner.inner]\ntext = \"\"\"\nlong\"\"\"",
            "by-name = { a = 1, 'b c' = 2 }",
            "any = -inf",
            "text = 3",
            "text = ['a']",
            "truth = 'true'",
            "count = 1.0",
            "count = []",
            "words = 'other'",
            "words = ['other', 'third']",
            "inner = 7",
            "[inner]\nnobody = 1",
            "inner.inner.truth = {}",
            "by-name = { a = 'x' }",
            "nobody = 1",
            "short = 'ab'",
            "short = 'abc'",
            "short = []",
            "text = ",
            "text = 'a'\ntext = 'b'",
        ] {
            let (got, want) = (parse::<All>(text), toml::from_str::<All>(text));
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
                (Err(got), Err(want)) => {
                    assert_eq!(got.at, want.span().map(|span| span.start), "{text}: {got}");
                    assert_eq!(got.message, want.message(), "{text}");
                }
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
    }

    /// What the crate has types for, and we have not.
    #[test]
    fn what_no_type_of_ours_takes_is_refused_in_its_place() {
        for (text, message, at) in [
            (
                "any = 2026-01-01",
                "invalid type: date or time without quotes, expected any valid TOML value",
                6,
            ),
            ("text = 07:32:00", "invalid type: date or time without quotes, expected a string", 7),
            ("count = 9223372036854775808", "the number has more than 64 bits", 8),
            ("words = [{ other = 1 }]", "invalid type: map, expected enum Word", 9),
        ] {
            let error = parse::<All>(text).expect_err(text);
            assert_eq!((error.message.as_str(), error.at), (message, Some(at)), "{text}");
        }
    }
}
