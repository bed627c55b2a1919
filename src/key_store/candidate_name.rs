//! What people call settings that they plan for a key store.

use super::text_newtype;

text_newtype!(
    /// What the configuration calls a candidate of a key store; unique there.
    CandidateName,
    "the name of a candidate",
    "must be 1 to 40 of a-z, A-Z, 0-9, hyphen and underscore",
    |text| {
        (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_have_names_for_people_and_labels() {
        for good in ["tuesday", "new-proxy", "A_1", &"a".repeat(40)] {
            assert_eq!(CandidateName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "\u{e9}", "a.b", &"a".repeat(41)] {
            assert!(CandidateName::parse(bad).is_err(), "{bad}");
        }
    }
}
