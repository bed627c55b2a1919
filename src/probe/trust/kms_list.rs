//! The list of certificate authorities that AWS publishes for external key store proxies.
//!
//! It is the file `TrustedCertificateAuthorities` of aws/aws-kms-xksproxy-api-spec, in the words of Java's keytool: a
//! paragraph for each root with its fingerprints. What is compiled in is the list's complement in Mozilla's roots; it
//! tells as much of any public chain, without a copy of AWS's file. Roots are matched by the SHA-256 of the whole
//! certificate, which is all that the list gives: a root that was renewed under its old key counts as another, so a
//! namesake on the list is noted.

use std::collections::BTreeSet;

use aws_lc_rs::digest;

use super::Root;
use crate::check::{KmsList, KmsListing};

/// Mozilla's roots that are not on the list, by name and SHA-256.
const NOT_ON_LIST: &str = include_str!("not_on_kms_list.tsv");

/// Roots among them whose former certificate, of the same name, is on the list: GTS Root R1, R3 and R4, GlobalSign ECC
/// Root CA R4, Autoridad de Certificacion Firmaprofesional.
const RENEWED: [&str; 5] = [
    "d947432abde7b7fa90fc2e6b59101b1280e0e1c7e4e40fa3c6887fff57a7f4cf",
    "34d8a73ee208d9bcdb0d956520934b4e40e69482596e8b6f73c8426b010a6f48",
    "349dfa4058c5e263123b398ae795573c4e1313c83fe68f93556cd5e8031b3c7d",
    "b085d70b964f191a73e4af0d54ae7a0e07aafdaf9b71dd0862138ab7325a24a2",
    "57de0583efd2b26e0361da99da9df4648def7ee8441c3b728afa9bcde0f9b26a",
];

/// The day of the one edition of the list that there is.
const EDITION: &str = "10 November 2022";

/// SHA-256 over that edition's fingerprints, hexadecimal and sorted: the file itself bears no date.
const EDITION_DIGEST: &str = "a3d6e03ea2973c9169b96022898d38ab8bc42a1a859c7b7a1102db72015fbeaf";

/// The largest file that is read, in bytes; the published one has 85,578.
const MOST_BYTES: usize = 1024 * 1024;

/// The list, as a set of roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsTrustList {
    fingerprints: BTreeSet<String>,
    names: BTreeSet<Name>,
    list: KmsList,
}

/// A distinguished name's parts, sorted: keytool and we write them in opposite orders.
type Name = Vec<String>;

/// A file that is not the list which AWS publishes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsTrustListError {
    /// It is too large.
    #[error("{bytes} bytes are more than the {MOST_BYTES} that the list of KMS's roots may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not UTF-8.
    #[error(
        "the list of KMS's roots is not text; it must be the file TrustedCertificateAuthorities as AWS publishes it"
    )]
    NotText,
    /// It lists nothing.
    #[error(
        "the list of KMS's roots has no line \"SHA256: ...\"; it must be the file TrustedCertificateAuthorities as AWS \
         publishes it, not PEM"
    )]
    Empty,
    /// A fingerprint is malformed.
    #[error("line {line} of the list of KMS's roots: SHA256 must be 32 pairs of hexadecimal digits joined by colons")]
    Fingerprint {
        /// Counted from 1.
        line: usize,
    },
    /// An entry has none.
    #[error("the entry on line {line} of the list of KMS's roots has no SHA256 fingerprint: the file may be cut off")]
    Unfinished {
        /// Where it begins, counted from 1.
        line: usize,
    },
}

impl KmsTrustList {
    /// Reads the file that AWS publishes: at most 1 MiB, UTF-8, and for every entry (`Alias name:` or `Owner:`) one
    /// fingerprint (`SHA256:`). Other lines mean nothing.
    pub fn parse(file: &[u8]) -> Result<Self, KmsTrustListError> {
        if file.len() > MOST_BYTES {
            return Err(KmsTrustListError::TooLarge { bytes: file.len() });
        }
        let text = std::str::from_utf8(file).map_err(|_| KmsTrustListError::NotText)?;
        let (mut fingerprints, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut begun: Option<usize> = None;
        for (index, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            if line.starts_with("Alias name:") {
                if let Some(line) = begun.replace(number) {
                    return Err(KmsTrustListError::Unfinished { line });
                }
            } else if let Some(owner) = line.strip_prefix("Owner:") {
                begun.get_or_insert(number);
                names.insert(name(owner));
            } else if let Some(fingerprint) = line.strip_prefix("SHA256:") {
                // The published file has stray characters after one of its fingerprints.
                let fingerprint = fingerprint.split_whitespace().next().and_then(hexadecimal);
                fingerprints.insert(fingerprint.ok_or(KmsTrustListError::Fingerprint { line: number })?);
                begun = None;
            }
        }
        match begun {
            Some(line) => Err(KmsTrustListError::Unfinished { line }),
            None if fingerprints.is_empty() => Err(KmsTrustListError::Empty),
            None => {
                let dated = (digest_of(&fingerprints) == EDITION_DIGEST).then_some(EDITION);
                let list = KmsList::Given { authorities: fingerprints.len(), dated };
                Ok(Self { fingerprints, names, list })
            }
        }
    }

    /// What is known of these roots, which are Mozilla's, without AWS's file.
    pub(super) fn compiled_in(mozilla: &[Root]) -> Self {
        let absent: BTreeSet<&str> = not_on_list().collect();
        let listed = mozilla.iter().filter(|root| !absent.contains(root.sha256.as_str()));
        let renewed = mozilla.iter().filter(|root| RENEWED.contains(&root.sha256.as_str()));
        Self {
            fingerprints: listed.map(|root| root.sha256.clone()).collect(),
            names: renewed.map(|root| name(&root.subject)).collect(),
            list: KmsList::CompiledIn { dated: EDITION },
        }
    }

    pub(super) fn holds(&self, root: &Root) -> bool {
        self.fingerprints.contains(&root.sha256)
    }

    /// What the list says of a root.
    pub(super) fn listing(&self, root: &Root) -> KmsListing {
        let listed = self.holds(root);
        KmsListing { listed, namesake: !listed && self.names.contains(&name(&root.subject)), list: self.list }
    }
}

/// The fingerprints of the compiled-in complement.
fn not_on_list() -> impl Iterator<Item = &'static str> {
    let entries = NOT_ON_LIST.lines().filter(|line| !line.starts_with('#'));
    entries.filter_map(|line| line.split_once('\t').map(|(_, sha256)| sha256))
}

fn name(text: &str) -> Name {
    let mut parts: Name = text.trim().split(", ").map(ToOwned::to_owned).collect();
    parts.sort();
    parts
}

/// `AB:CD:...` in the form in which we write fingerprints.
fn hexadecimal(text: &str) -> Option<String> {
    let pairs: Vec<&str> = text.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    (pairs.len() == 32 && pairs.iter().all(is_pair)).then(|| pairs.concat().to_ascii_lowercase())
}

fn digest_of(fingerprints: &BTreeSet<String>) -> String {
    let all: String = fingerprints.iter().map(String::as_str).collect();
    super::certificate::hexadecimal(digest::digest(&digest::SHA256, all.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::TrustRoots;

    /// SHA-256 over the fingerprints of the roots that the complement was computed from. Another edition of Mozilla's
    /// roots needs another complement: its new roots are on no list of 2022.
    const MOZILLA_DIGEST: &str = "dfdb33cbdc7566b6f1fa1827dc50924a338afbeba59374dd115f4e66ca66b74e";

    /// Two roots of an authority that does not exist, in the form of the published file.
    const SAMPLE: &str = include_str!("sample_list.txt");

    #[test]
    fn the_complement_belongs_to_the_roots_that_are_compiled_in() {
        let roots = TrustRoots::mozilla().roots;
        let all: BTreeSet<String> = roots.iter().map(|root| root.sha256.clone()).collect();
        assert_eq!(digest_of(&all), MOZILLA_DIGEST, "compute not_on_kms_list.tsv anew");
        let absent: Vec<&str> = not_on_list().collect();
        assert_eq!((roots.len(), absent.len()), (118, 44));
        assert!(absent.iter().chain(&RENEWED).all(|sha256| all.contains(*sha256)));
        assert!(RENEWED.iter().all(|sha256| absent.contains(sha256)));
        assert_eq!(KmsTrustList::compiled_in(&roots).fingerprints.len(), 118 - 44);
    }

    #[test]
    fn roots_of_mozilla_are_told_apart() {
        let roots = TrustRoots::mozilla().roots;
        let list = KmsTrustList::compiled_in(&roots);
        let of = |name: &str| list.listing(roots.iter().find(|root| root.subject.contains(name)).unwrap());
        for (name, listed, namesake) in [
            ("CN=Amazon Root CA 1", true, false),
            ("CN=ISRG Root X1", true, false),
            ("CN=ISRG Root X2", false, false),
            ("CN=DigiCert TLS ECC P384 Root G5", false, false),
            ("CN=GTS Root R1", false, true),
        ] {
            let listing = of(name);
            assert_eq!((listing.listed, listing.namesake), (listed, namesake), "{name}");
            assert_eq!(listing.list.to_string(), "AWS's list of 10 November 2022, as compiled in");
        }
    }

    #[test]
    fn a_list_of_this_form_is_read() {
        let list = KmsTrustList::parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(list.list, KmsList::Given { authorities: 2, dated: None });
        let root = |subject: &str, byte: &str| Root { subject: subject.to_owned(), sha256: byte.repeat(32) };
        let listing = |subject, byte| {
            let listing = list.listing(&root(subject, byte));
            (listing.listed, listing.namesake)
        };
        assert_eq!(listing("C=ZZ, O=Nobody's Authority, CN=Nobody's Root 1", "a1"), (true, false));
        assert_eq!(listing("C=ZZ, O=Nobody's Authority, CN=Nobody's Root 1", "a3"), (false, true));
        assert_eq!(listing("C=ZZ, O=Nobody's Authority, CN=Nobody's Root 3", "a3"), (false, false));
        // The same with the line ends of another system.
        assert_eq!(KmsTrustList::parse(SAMPLE.replace('\n', "\r\n").as_bytes()).as_ref(), Ok(&list));
    }

    #[test]
    fn what_is_no_list_is_refused_by_the_rule_it_breaks() {
        use KmsTrustListError as Error;
        let line_of = |start: &str| SAMPLE.lines().position(|line| line.trim().starts_with(start)).unwrap() + 1;
        let cut = &SAMPLE[..SAMPLE.rfind("SHA256").unwrap()];
        let last_entry = SAMPLE.lines().count() - SAMPLE.lines().rev().position(|l| l.starts_with("Alias")).unwrap();
        let short = SAMPLE.replacen("A1:A1", "A1", 1);
        let odd = SAMPLE.replacen("A1:A1", "A1:X1", 1);
        let swallowed = SAMPLE.replacen("SHA256", "SHA1", 1);
        for (file, expected) in [
            (&b""[..], Error::Empty),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Error::Empty),
            (b"Alias name: \xff", Error::NotText),
            (cut.as_bytes(), Error::Unfinished { line: last_entry }),
            (swallowed.as_bytes(), Error::Unfinished { line: line_of("Alias") }),
            (short.as_bytes(), Error::Fingerprint { line: line_of("SHA256") }),
            (odd.as_bytes(), Error::Fingerprint { line: line_of("SHA256") }),
            (&vec![b'\n'; MOST_BYTES + 1], Error::TooLarge { bytes: MOST_BYTES + 1 }),
        ] {
            assert_eq!(KmsTrustList::parse(file), Err(expected));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_breaks_the_reader(file in proptest::collection::vec(proptest::num::u8::ANY, 0..400), at in 0..700_usize) {
            // Garbage, and garbage inside of what is right.
            let _ = KmsTrustList::parse(&file);
            let (before, after) = SAMPLE.as_bytes().split_at(at.min(SAMPLE.len()));
            let _ = KmsTrustList::parse(&[before, &file, after].concat());
        }
    }
}
