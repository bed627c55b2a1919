//! From text to values of the right shape: unknown keys, wrong types and values out of bounds are found here.
//!
//! A faulty value is reported and left out; its key is then neither read nor reported as missing, so that one mistake
//! gives one fault.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Collector, found, showable};
use super::keys::{Key, Presence, ROOT, SECRET, Shape};
use super::quantity;
use super::reading::Reading;

/// A value of the shape that its key demands.
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Count(u64),
    Duration(Duration),
    Texts(Vec<(Option<usize>, String)>),
    Section(Section),
    Sections(Vec<Section>),
    Named(Vec<(String, Section)>),
}

/// A table of the file, with defaults filled in. Readers take the values out.
pub(super) struct Section {
    /// Its key path; empty for the root.
    pub(super) path: String,
    /// Where it starts; `None` if it is not in the file.
    pub(super) line: Option<usize>,
    entries: BTreeMap<&'static str, Entry>,
    /// Whether a key of it was refused or is unknown.
    faulty: bool,
}

struct Entry {
    line: Option<usize>,
    shown: bool,
    value: Value,
}

/// Reads the whole file. `None` if it is not TOML: nothing more can be said then.
pub(super) fn read(text: &str, faults: &mut Collector) -> Option<Section> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Only the message: the error's own `Display` quotes the line, which may hold a secret.
        faults.add(error.span().map(|span| lines.at(span.start)), "", format!("is not TOML: {}", error.message()));
    }
    errors.is_empty().then(|| Reader { lines, faults }.section(String::new(), None, table.get_ref(), ROOT))
}

/// Tells the line of a byte, from where the lines end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn at(&self, byte: usize) -> usize {
        1 + self.0.partition_point(|end| *end < byte)
    }
}

struct Reader<'f> {
    lines: Lines,
    faults: &'f mut Collector,
}

impl Reader<'_> {
    fn section(&mut self, path: String, line: Option<usize>, table: &DeTable<'_>, keys: &'static [Key]) -> Section {
        let mut faulty = false;
        for (name, _) in table {
            if !keys.iter().any(|key| key.name == name.get_ref().as_ref()) {
                let line = Some(self.lines.at(name.span().start));
                self.faults.add(line, &join(&path, &showable(name.get_ref())), unknown(name.get_ref(), keys));
                faulty = true;
            }
        }
        let mut entries = BTreeMap::new();
        for key in keys {
            let path = join(&path, key.name);
            let entry = match table.get(key.name) {
                Some(value) => {
                    let line = Some(self.lines.at(value.span().start));
                    self.value(&path, line, value.get_ref(), &key.shape).map(|value| (line, value))
                }
                None => self.absent(&path, line, key).map(|value| (None, value)),
            };
            if let Some((line, value)) = entry {
                let shown = !matches!(key.shape, Shape::Private);
                entries.insert(key.name, Entry { line, shown, value });
            } else {
                faulty |= table.contains_key(key.name);
            }
        }
        Section { path, line, entries, faulty }
    }

    fn absent(&mut self, path: &str, line: Option<usize>, key: &Key) -> Option<Value> {
        match (&key.presence, &key.shape) {
            (Presence::Required, _) => {
                self.faults.add(line, path, format!("is missing: {}", key.about));
                None
            }
            (Presence::Default(toml), shape) => {
                let value = DeValue::parse(toml).ok()?;
                self.value(path, None, value.get_ref(), shape)
            }
            (Presence::Optional, Shape::Section(keys)) => {
                let empty = DeTable::new();
                Some(Value::Section(self.section(path.to_owned(), None, &empty, keys)))
            }
            (Presence::Optional, Shape::Sections(..)) => Some(Value::Sections(Vec::new())),
            (Presence::Optional, Shape::Named(..)) => Some(Value::Named(Vec::new())),
            (Presence::Optional, _) => None,
        }
    }

    fn value(&mut self, path: &str, line: Option<usize>, value: &DeValue<'_>, shape: &Shape) -> Option<Value> {
        let read = match (shape, value) {
            (Shape::Text | Shape::Private, DeValue::String(text)) => Some(Value::Text(text.to_string())),
            (Shape::Choice(words), DeValue::String(text)) => {
                words.contains(&text.as_ref()).then(|| Value::Text(text.to_string()))
            }
            (Shape::Words(words), DeValue::String(text)) => {
                words.contains(&text.as_ref()).then(|| Value::Texts(vec![(line, text.to_string())]))
            }
            (Shape::Words(words), DeValue::Array(items)) if !items.is_empty() && items.len() <= words.len() => {
                let mut texts = Vec::new();
                for item in items {
                    let line = Some(self.lines.at(item.span().start));
                    let text = match item.get_ref() {
                        DeValue::String(text) if words.contains(&text.as_ref()) => text.to_string(),
                        other => return self.refuse(path, line, other, shape),
                    };
                    texts.push((line, text));
                }
                Some(Value::Texts(texts))
            }
            (Shape::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Shape::Count(min, max), DeValue::Integer(number)) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
                number.filter(|number| (*min..=*max).contains(number)).map(Value::Count)
            }
            (Shape::Duration(min, max), DeValue::String(text)) => {
                let bounds = Duration::from_millis(*min)..=Duration::from_millis(*max);
                quantity::duration(text).filter(|duration| bounds.contains(duration)).map(Value::Duration)
            }
            (Shape::Size(min, max), DeValue::String(text)) => {
                quantity::size(text).filter(|size| (*min..=*max).contains(size)).map(Value::Count)
            }
            (Shape::Texts(max), DeValue::Array(items)) if items.len() <= *max => {
                let mut texts = Vec::new();
                for item in items {
                    let DeValue::String(text) = item.get_ref() else { return self.refuse(path, line, value, shape) };
                    texts.push((Some(self.lines.at(item.span().start)), text.to_string()));
                }
                Some(Value::Texts(texts))
            }
            (Shape::Secret, DeValue::Table(table)) => {
                Some(Value::Section(self.section(path.to_owned(), line, table, SECRET)))
            }
            (Shape::Section(keys) | Shape::Table(keys), DeValue::Table(table)) => {
                Some(Value::Section(self.section(path.to_owned(), line, table, keys)))
            }
            (Shape::Sections(keys, max), DeValue::Array(items)) if items.len() <= *max => {
                return self.sections(path, items.iter(), keys);
            }
            (Shape::Named(keys, max), DeValue::Table(table)) if table.len() <= *max => {
                return Some(self.named(path, table, keys));
            }
            _ => None,
        };
        read.or_else(|| self.refuse(path, line, value, shape))
    }

    fn sections<'v>(
        &mut self,
        path: &str,
        items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
        keys: &'static [Key],
    ) -> Option<Value> {
        let mut sections = Vec::new();
        let mut whole = true;
        for (index, item) in items.enumerate() {
            let path = format!("{path}[{index}]");
            let line = Some(self.lines.at(item.span().start));
            if let DeValue::Table(table) = item.get_ref() {
                sections.push(self.section(path, line, table, keys));
            } else {
                self.faults.add(line, &path, format!("must be a table, not {}", item.get_ref().type_str()));
                whole = false;
            }
        }
        whole.then_some(Value::Sections(sections))
    }

    fn named(&mut self, path: &str, table: &DeTable<'_>, keys: &'static [Key]) -> Value {
        let mut sections = Vec::new();
        for (name, item) in table {
            let line = Some(self.lines.at(name.span().start));
            let path = join(path, &showable(name.get_ref()));
            if showable(name.get_ref()) != name.get_ref().as_ref() {
                self.faults.add(line, &path, "its name must be 1 to 40 of a-z, A-Z, 0-9, hyphen and underscore");
            } else if let DeValue::Table(table) = item.get_ref() {
                sections.push((name.get_ref().to_string(), self.section(path, line, table, keys)));
            } else {
                self.faults.add(line, &path, format!("must be a table, not {}", item.get_ref().type_str()));
            }
        }
        Value::Named(sections)
    }

    /// Says what belongs there and what was found, unless it may be secret.
    fn refuse(&mut self, path: &str, line: Option<usize>, value: &DeValue<'_>, shape: &Shape) -> Option<Value> {
        let expected = shape.expected();
        let message = match (shape, value) {
            (Shape::Secret, DeValue::String(_)) => {
                format!("a secret is never written into this file: say where it is, as {expected}")
            }
            (Shape::Choice(_) | Shape::Words(_) | Shape::Duration(..) | Shape::Size(..), DeValue::String(text)) => {
                format!("must be {expected} {}", found(text))
            }
            (Shape::Count(..), DeValue::Integer(number)) => format!("must be {expected} (found {number})"),
            (Shape::Sections(_, max), DeValue::Array(items)) if items.len() > *max => {
                format!("must be {expected} (found {})", items.len())
            }
            (Shape::Texts(max), DeValue::Array(items)) if items.len() > *max => {
                format!("must be {expected} (found {})", items.len())
            }
            (Shape::Named(..), DeValue::Table(table)) => format!("must be {expected} (found {})", table.len()),
            (Shape::Texts(_), DeValue::Array(_)) => format!("must be {expected}, and nothing else"),
            _ => format!("must be {expected}, not {}", value.type_str()),
        };
        self.faults.add(line, path, message);
        None
    }
}

/// A value as it was taken, with the place to report against.
pub(super) struct Taken<T> {
    pub(super) path: String,
    pub(super) line: Option<usize>,
    pub(super) value: T,
}

impl<T> Taken<T> {
    /// The same with another value, made of this one.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Taken<U> {
        Taken { path: self.path, line: self.line, value: make(self.value) }
    }
}

impl Section {
    /// Tells every value, for comparison with another reading.
    pub(super) fn tell(&self, reading: &mut Reading) {
        for (name, entry) in &self.entries {
            let path = join(&self.path, name);
            match &entry.value {
                Value::Text(text) => reading.add(&path, text.as_bytes()),
                Value::Flag(flag) => reading.add(&path, &[u8::from(*flag)]),
                Value::Count(count) => reading.add(&path, &count.to_be_bytes()),
                Value::Duration(duration) => reading.add(&path, &duration.as_nanos().to_be_bytes()),
                Value::Texts(texts) => texts.iter().for_each(|(_, text)| reading.add(&path, text.as_bytes())),
                Value::Section(section) => section.tell(reading),
                Value::Sections(sections) => sections.iter().for_each(|section| section.tell(reading)),
                Value::Named(sections) => sections.iter().for_each(|(_, section)| section.tell(reading)),
            }
        }
    }

    /// Takes text and makes of it what `parse` makes; its error is the rule in words.
    pub(super) fn parse<T>(
        &mut self,
        name: &str,
        faults: &mut Collector,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Taken<T>> {
        let entry = self.entries.remove(name)?;
        let Value::Text(text) = entry.value else { return None };
        let path = join(&self.path, name);
        match parse(&text) {
            Ok(value) => Some(Taken { path, line: entry.line, value }),
            Err(rule) if entry.shown => {
                faults.add(entry.line, &path, format!("{rule} {}", found(&text)));
                None
            }
            Err(rule) => {
                faults.add(entry.line, &path, rule);
                None
            }
        }
    }

    /// Whether this key is there and of the right shape, or has a default.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether something in this section was refused already, so that what seems missing may not be.
    pub(super) fn is_faulty(&self) -> bool {
        self.faulty
    }

    pub(super) fn text(&mut self, name: &str) -> Option<Taken<String>> {
        let entry = self.entries.remove(name)?;
        let Value::Text(value) = entry.value else { return None };
        Some(Taken { path: join(&self.path, name), line: entry.line, value })
    }

    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<Taken<String>>> {
        let Value::Texts(texts) = self.entries.remove(name)?.value else { return None };
        let path = join(&self.path, name);
        let numbered = texts.into_iter().enumerate();
        Some(numbered.map(|(at, (line, value))| Taken { path: format!("{path}[{at}]"), line, value }).collect())
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.entries.remove(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// A number or a size in bytes, as the type that the setting has.
    pub(super) fn count<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        match self.entries.remove(name)?.value {
            Value::Count(count) => T::try_from(count).ok(),
            _ => None,
        }
    }

    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        match self.entries.remove(name)?.value {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    pub(super) fn section(&mut self, name: &str) -> Option<Section> {
        match self.entries.remove(name)?.value {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    pub(super) fn sections(&mut self, name: &str) -> Option<Vec<Section>> {
        match self.entries.remove(name)?.value {
            Value::Sections(sections) => Some(sections),
            _ => None,
        }
    }

    pub(super) fn named(&mut self, name: &str) -> Option<Vec<(String, Section)>> {
        match self.entries.remove(name)?.value {
            Value::Named(sections) => Some(sections),
            _ => None,
        }
    }

    /// Ends the reading of this section: a key that is in the table and that nobody took has no effect, which is a
    /// fault of this program and must not pass silently.
    pub(super) fn finish(self, faults: &mut Collector) {
        for (name, entry) in self.entries {
            faults.add(entry.line, &join(&self.path, name), "is known and has no effect: a fault of xks-preflight");
        }
    }
}

fn unknown(name: &str, keys: &[Key]) -> String {
    let near = keys
        .iter()
        .map(|key| (strsim::jaro_winkler(&name.to_ascii_lowercase(), key.name), key.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    if let Some((_, near)) = near {
        return format!("is not a key; did you mean {near}?");
    }
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    format!("is not a key; the keys here are {}", names.join(", "))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
