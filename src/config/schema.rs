//! The table of keys as JSON Schema, for editors and for pipelines that write configurations.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::keys::{Key, Presence, ROOT, SECRET, Shape};
use super::quantity;

/// The JSON Schema (draft 2020-12) of the configuration file. It knows keys, types and most bounds; references and
/// rules over several keys are known only to [`super::Config::load`].
pub fn schema() -> Value {
    let mut schema = table(ROOT);
    let head = [("$schema", "https://json-schema.org/draft/2020-12/schema"), ("title", "xks-preflight configuration")];
    schema.extend(head.map(|(name, text)| (name.to_owned(), json!(text))));
    Value::Object(schema)
}

fn table(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|key| is_required(key)).map(|key| key.name).collect();
    Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("additionalProperties".to_owned(), json!(false)),
        ("properties".to_owned(), Value::Object(properties)),
        ("required".to_owned(), json!(required)),
    ])
}

/// A section without which a key would be missing is as required as that key.
fn is_required(key: &Key) -> bool {
    match &key.shape {
        Shape::Section(keys) => keys.iter().any(is_required),
        _ => matches!(key.presence, Presence::Required),
    }
}

fn property(key: &Key) -> Value {
    let mut property = match &key.shape {
        Shape::Text | Shape::Private => text([]),
        Shape::Choice(words) => text([("enum", json!(words))]),
        Shape::Words(words) => {
            let word = text([("enum", json!(words))]);
            let mut several = list(word.clone(), words.len());
            several.extend([("minItems".to_owned(), json!(1)), ("uniqueItems".to_owned(), json!(true))]);
            Map::from_iter([("anyOf".to_owned(), json!([word, several]))])
        }
        Shape::Flag => Map::from_iter([("type".to_owned(), json!("boolean"))]),
        Shape::Count(min, max) => Map::from_iter([
            ("type".to_owned(), json!("integer")),
            ("minimum".to_owned(), json!(min)),
            ("maximum".to_owned(), json!(max)),
        ]),
        Shape::Duration(..) => text([("pattern", json!(quantity::DURATION_PATTERN))]),
        Shape::Size(..) => text([("pattern", json!(quantity::SIZE_PATTERN))]),
        Shape::Texts(max) => list(text([]), *max),
        Shape::Secret => {
            let mut secret = table(SECRET);
            secret.extend([("minProperties".to_owned(), json!(1)), ("maxProperties".to_owned(), json!(1))]);
            secret
        }
        Shape::Section(keys) | Shape::Table(keys) => table(keys),
        Shape::Sections(keys, max) => list(table(keys), *max),
        Shape::Named(keys, max) => Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("additionalProperties".to_owned(), Value::Object(table(keys))),
            ("propertyNames".to_owned(), json!({ "pattern": "^[A-Za-z0-9_-]{1,40}$" })),
            ("maxProperties".to_owned(), json!(max)),
        ]),
    };
    let mut about = key.about.to_owned();
    if let Shape::Duration(..) | Shape::Size(..) = key.shape {
        about = format!("{about}; {}", key.shape.expected());
    }
    property.insert("description".to_owned(), json!(about));
    if let Presence::Default(toml) = key.presence {
        let default = toml::de::ValueDeserializer::parse(toml).and_then(Value::deserialize);
        property.extend(default.ok().map(|default| ("default".to_owned(), default)));
    }
    Value::Object(property)
}

fn text<const N: usize>(rules: [(&str, Value); N]) -> Map<String, Value> {
    let mut text = Map::from_iter([("type".to_owned(), json!("string"))]);
    text.extend(rules.map(|(name, rule)| (name.to_owned(), rule)));
    text
}

fn list(items: Map<String, Value>, max: usize) -> Map<String, Value> {
    Map::from_iter([
        ("type".to_owned(), json!("array")),
        ("items".to_owned(), Value::Object(items)),
        ("maxItems".to_owned(), json!(max)),
    ])
}
