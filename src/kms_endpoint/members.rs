//! The parameters of a request, read strictly: all faults at once, in KMS's words, none with a value.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::key_store::{Invalid, KmsException};

/// Takes members out of an object and notes every fault.
pub(super) struct Members<'f> {
    map: Map<String, Value>,
    path: String,
    faults: &'f mut Vec<String>,
}

/// Reads the parameters; whatever `read` leaves is unknown.
pub(super) fn read<T>(map: Map<String, Value>, read: impl FnOnce(&mut Members<'_>) -> T) -> Result<T, Failure> {
    let mut faults = Vec::new();
    let mut members = Members { map, path: String::new(), faults: &mut faults };
    let taken = read(&mut members);
    members.finish();
    if faults.is_empty() {
        return Ok(taken);
    }
    let (count, plural) = (faults.len(), if faults.len() == 1 { "" } else { "s" });
    let message = format!("{count} validation error{plural} detected: {}", faults.join("; "));
    Err(Failure::of(KmsException::Validation, message))
}

impl Members<'_> {
    /// Notes a fault, as KMS words it.
    pub(super) fn fault(&mut self, name: &str, rule: &str) {
        let mut name = name.to_owned();
        // KMS's messages begin members in lower case.
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        let rule = rule.strip_prefix("must ").unwrap_or(rule);
        self.faults.push(format!("Value at '{}{name}' failed to satisfy constraint: Member must {rule}", self.path));
    }

    /// A member of text; absent and null are the same.
    pub(super) fn text<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        match self.map.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => {
                let text = Zeroizing::new(text);
                parse(&text).map_err(|invalid| self.fault(name, invalid.rule)).ok()
            }
            Some(_) => {
                self.fault(name, "be a string");
                None
            }
        }
    }

    /// As [`Members::text`], but it must be there.
    pub(super) fn required<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        if self.is_absent(name) {
            self.map.remove(name);
            self.fault(name, "not be null");
            return None;
        }
        self.text(name, parse)
    }

    /// Whether there is no such member.
    pub(super) fn is_absent(&self, name: &str) -> bool {
        matches!(self.map.get(name), None | Some(Value::Null))
    }

    /// Takes the member out if it is this text, which then means that it is absent.
    pub(super) fn drop_text(&mut self, name: &str, absent: &str) {
        if self.map.get(name).and_then(Value::as_str) == Some(absent) {
            self.map.remove(name);
        }
    }

    /// A whole number within these bounds.
    pub(super) fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        match self.map.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let number = value.as_u64().filter(|number| (min..=max).contains(number));
                if number.is_none() {
                    self.fault(name, &format!("be a whole number from {min} to {max}"));
                }
                number
            }
        }
    }

    /// A structure; `read` takes its members, the rest are faults.
    pub(super) fn structure<T>(&mut self, name: &str, read: impl FnOnce(&mut Members<'_>) -> T) -> Option<T> {
        match self.map.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => {
                let mut path = format!("{}{name}.", self.path);
                if let Some(first) = path.get_mut(..1) {
                    first.make_ascii_lowercase();
                }
                let mut inner = Members { map, path, faults: self.faults };
                let taken = read(&mut inner);
                inner.finish();
                Some(taken)
            }
            Some(_) => {
                self.fault(name, "be a structure");
                None
            }
        }
    }

    fn finish(mut self) {
        for name in std::mem::take(&mut self.map).keys() {
            // Somebody may have put a secret where a name belongs.
            let shown = if name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                name.clone()
            } else {
                format!("(a name of {} characters)", name.chars().count())
            };
            self.fault(&shown, "be one that the operation knows");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_faults_are_told_at_once_and_none_holds_a_value() {
        let Value::Object(map) =
            json!({ "One": 1, "Two": "DoNotLeak", "Three": { "Four": "x", "Five": 1 }, "Six": 0, "DoNotLeak/Key+": 1 })
        else {
            panic!("an object")
        };
        let none = |_: &str| Err::<(), _>(Invalid { member: "Two", rule: "must be something else" });
        let failure = read(map, |members| {
            members.text("One", |_| Ok(()));
            members.text("Two", none);
            members.structure("Three", |three| three.text("Four", |_| Ok(())));
            members.number("Six", 1, 1000);
            members.required("Seven", |_| Ok(()));
        })
        .unwrap_err();
        assert_eq!(failure.name, "ValidationException");
        assert!(
            failure.message.starts_with("6 validation errors detected: Value at 'one' failed"),
            "{}",
            failure.message
        );
        for told in
            ["'two' failed to satisfy constraint: Member must be something else", "'three.five'", "'six'", "'seven'"]
        {
            assert!(failure.message.contains(told), "{told}: {}", failure.message);
        }
        assert!(!failure.message.contains("DoNotLeak"));
    }
}
