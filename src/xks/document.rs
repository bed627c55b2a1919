//! A JSON document read strictly: nothing after it, no member twice, bounded depth.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The first thing in an answer that violates its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {rule}")]
pub struct Violation {
    /// RFC 6901 pointer to the value; empty for the document itself.
    pub pointer: String,
    /// What it should have been and what it is, without quoting more than a few characters of it.
    pub rule: String,
}

impl Violation {
    /// A violation at a pointer.
    pub fn at(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), rule: rule.into() }
    }
}

/// Reads one JSON document. Depth is bounded by serde_json (128), size by the caller.
pub fn parse(bytes: &[u8]) -> Result<Value, Violation> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Violation::at("", "the body is empty"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Violation::at("", format!("not JSON: {error}")))?;
    Ok(value)
}

/// The object at the top of a document.
pub(super) fn object(value: &Value) -> Result<&Map<String, Value>, Violation> {
    value.as_object().ok_or_else(|| Violation::at("", format!("must be an object, is {}", kind(value))))
}

/// A required string member.
pub(super) fn string<'a>(map: &'a Map<String, Value>, base: &str, name: &str) -> Result<&'a str, Violation> {
    let value = required(map, base, name)?;
    value.as_str().ok_or_else(|| wrong_type(base, name, "a string", value))
}

/// A required member of any type.
pub(super) fn required<'a>(map: &'a Map<String, Value>, base: &str, name: &str) -> Result<&'a Value, Violation> {
    map.get(name).ok_or_else(|| Violation::at(format!("{base}/{name}"), "is missing"))
}

pub(super) fn wrong_type(base: &str, name: &str, wanted: &str, found: &Value) -> Violation {
    Violation::at(format!("{base}/{name}"), format!("must be {wanted}, is {}", kind(found)))
}

/// The JSON type, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fractional number",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Builds a [`Value`] but refuses a member that appears twice: which one KMS would take is anybody's guess.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Self)?;
            if members.contains_key(&name) {
                let shown: String = name.chars().take(40).collect();
                return Err(A::Error::custom(format!("member {shown:?} appears twice")));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oddities_are_refused() {
        for bad in ["", "  ", "{} x", "{\"a\":1,\"a\":2}", "<html>", "{\"a\":", "\u{feff}{}"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(parse(deep.as_bytes()).unwrap_err().rule.contains("recursion limit"));
        assert!(parse(b"{\"a\":[1,-1,1.5,null,true,\"x\"]}").is_ok());
    }
}
