//! Tests of the whole room: files in, settings or faults out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

mod faults;

const SECRET: &str = "TestSecretDoNotLeak0123456789012345678901234567";
const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// A directory with the files that configurations name.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let console = format!(
            r#"{{"XksProxyUriPath": "/kms/xks/v1", "XksProxyAuthenticationCredential":
                {{"AccessKeyId": "AKIAI2SFODNN7EXAMPLE", "RawSecretAccessKey": "{SECRET}"}}}}"#
        );
        place.write("proxy-configuration.json", &console, 0o600);
        place.write("secrets/next", &format!("{SECRET}\n"), 0o600);
        place.write("open", SECRET, 0o644);
        place.write("empty", "", 0o600);
        place.write("large", &"DoNotLeak".repeat(10_000), 0o600);
        place.write("garbage", "DoNotLeak", 0o600);
        place
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Config, Faults> {
        let path = self.write("config.toml", text, 0o644);
        Config::load(&path, &|name| match name {
            "XKS_MAIN_SECRET_ACCESS_KEY" | "XKS_PREFLIGHT_KMS_SECRET" => Some(SECRET.to_owned()),
            "WRONG_SECRET" => Some("DoNotLeak".to_owned()),
            _ => None,
        })
    }

    /// The faults as they are printed, one each.
    fn faults(&self, text: &str) -> Vec<String> {
        match self.load(text) {
            Ok(_) => Vec::new(),
            Err(faults) => {
                let told = format!("{faults} {faults:?}");
                assert!(!told.contains("DoNotLeak"), "{told}");
                faults.faults.iter().map(ToString::to_string).collect()
            }
        }
    }
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

/// `full.toml` with its optional keys switched on.
fn uncommented() -> toml::Table {
    let text = shipped("full.toml");
    let on = text.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line));
    on.collect::<Vec<_>>().join("\n").parse().unwrap()
}

#[test]
fn the_shipped_files_are_without_fault() {
    let place = Place::new();
    let minimal = place.load(&shipped("minimal.toml")).unwrap();
    assert_eq!(minimal.key_stores[0].place.to_string(), "home/eu-central-1");
    let main = &minimal.credentials[&minimal.key_stores[0].credential];
    assert_eq!(main.credential.as_ref().unwrap().secret_access_key.expose(), SECRET);
    assert_eq!(main.path.as_ref().unwrap().as_str(), "/kms/xks/v1");
    assert!(!minimal.preflight.trust.is_lab());
    assert!(!minimal.kms.observe_only && minimal.tokens.is_empty());

    let observe = place.load(&shipped("observe-only.toml")).unwrap();
    assert!(observe.kms.observe_only);
    assert_eq!(observe.credentials["main"].credential, main.credential);

    let full = place.load(&shipped("full.toml")).unwrap();
    assert_eq!(full.tokens[0].principal.name, "alice");
    assert_eq!(full.credentials["next"].credential.as_ref().unwrap().secret_access_key.expose(), SECRET);
    assert_eq!(full.preflight.routes["xks.example.com"], vec!["192.0.2.7:443".parse().unwrap()]);
    assert!(!format!("{full:?}{observe:?}{minimal:?}").contains("DoNotLeak"));
}

/// Every key path of a TOML value and of the schema, with names and indexes left out.
fn toml_paths(value: &toml::Value, path: &str, paths: &mut std::collections::BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let path = if path == ".credentials" { format!("{path}.*") } else { format!("{path}.{name}") };
                paths.insert(path.clone());
                toml_paths(value, &path, paths);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| toml_paths(item, path, paths)),
        _ => {}
    }
}

fn schema_paths(schema: &serde_json::Value, path: &str, paths: &mut std::collections::BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        paths.insert(path.clone());
        schema_paths(property, &path, paths);
        schema_paths(&property["items"], &path, paths);
        if property["additionalProperties"].is_object() {
            let path = format!("{path}.*");
            paths.insert(path.clone());
            schema_paths(&property["additionalProperties"], &path, paths);
        }
    }
}

#[test]
fn full_toml_has_exactly_the_keys_of_the_schema() {
    let (mut told, mut known) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    toml_paths(&toml::Value::Table(uncommented()), "", &mut told);
    schema_paths(&schema(), "", &mut known);
    assert_eq!(told, known);
    assert!(known.len() > 60, "{}", known.len());
}

/// Compares what full.toml sets with the schema's defaults.
fn compare(schema: &serde_json::Value, value: &serde_json::Value, path: &str, compared: &mut usize) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if let Some(default) = property.get("default") {
            assert_eq!(&value[name], default, "{path}");
            *compared += 1;
        }
        compare(property, &value[name], &path, compared);
    }
}

#[test]
fn full_toml_has_the_defaults() {
    let full = serde_json::to_value(uncommented()).unwrap();
    let mut compared = 0;
    compare(&schema(), &full, "", &mut compared);
    assert_eq!(compared, 53);

    let place = Place::new();
    let minimal = place.load(&shipped("minimal.toml")).unwrap();
    let full = place.load(&shipped("full.toml")).unwrap();
    assert_eq!((minimal.monitor, minimal.update, minimal.http), (full.monitor, full.update, full.http));
    assert_eq!((minimal.listen.api, minimal.journal.path), (full.listen.api, full.journal.path));
    assert_eq!(minimal.preflight.samples, full.preflight.samples);
}

const GOOD: &str = "[kms]\nregion = \"eu-central-1\"\n";

#[test]
fn every_fault_is_told_exactly() {
    let place = Place::new();
    assert_eq!(place.faults(GOOD), Vec::<String>::new());
    for (text, fault) in faults::FAULTS {
        assert_eq!(place.faults(&format!("{GOOD}{text}")), vec![(*fault).to_owned()], "{text}");
    }
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_lines() {
    let place = Place::new();
    let text = "[monitor]\ninterval = \"x\"\nsamples = 0\n[kms]\nobserve_only = 1\n[[key_stores]]\nid = \"?\"\n\
                [[tokens]]\nname = \"a\"\nrole = \"viewer\"\n";
    let keys: Vec<String> = place.load(text).unwrap_err().faults.into_iter().map(|fault| fault.key).collect();
    assert_eq!(
        keys,
        [
            "monitor.interval",
            "monitor.samples",
            "kms.region",
            "kms.observe_only",
            "key_stores[0].credential",
            "key_stores[0].id",
            "tokens[0].sha256"
        ]
    );
}

#[test]
fn a_thing_twice_is_told_where_it_comes_again() {
    let place = Place::new();
    let token =
        |name: &str, hash: &str| format!("[[tokens]]\nname = \"{name}\"\nrole = \"viewer\"\nsha256 = \"{hash}\"\n");
    let other = HASH.replace('a', "b");
    assert_eq!(
        place.faults(&format!("{GOOD}{}{}", token("a", HASH), token("a", &other))),
        ["line 8: tokens[1].name: is there twice (found \"a\")"]
    );
    assert_eq!(
        place.faults(&format!("{GOOD}{}{}", token("a", HASH), token("b", HASH))),
        ["line 10: tokens[1].sha256: is the same token as that of \"a\": nobody could tell who called"]
    );
    let store = "[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n";
    let credential = "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n";
    assert_eq!(
        place.faults(&format!("{GOOD}{credential}{store}{store}")),
        ["line 9: key_stores[1].id: is there twice (found \"cks-1\")"]
    );
}

/// Two further accounts, one with one Region and one with two, and the account of `[kms]` in another Region.
const ACCOUNTS: &str = "[[accounts]]\nname = \"home\"\nregions = [\"eu-west-1\"]\n\
    [[accounts]]\nname = \"one\"\nregions = [\"us-east-1\"]\nprofile = \"one\"\n\
    [[accounts]]\nname = \"two\"\nregions = [\"us-east-1\", \"us-west-2\"]\nrole_arn = \"arn:aws:iam::444455556666:role/x\"\n";

#[test]
fn a_key_store_is_in_an_account_and_a_region() {
    let place = Place::new();
    let credential = "[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n";
    let text =
        |more: &str| format!("{GOOD}{ACCOUNTS}{credential}[[key_stores]]\nid = \"cks-1\"\ncredential = \"a\"\n{more}");
    for (more, at) in [
        ("", "home/eu-central-1"),
        ("region = \"eu-west-1\"", "home/eu-west-1"),
        ("account = \"home\"", "home/eu-central-1"),
        ("account = \"one\"", "one/us-east-1"),
        ("account = \"two\"\nregion = \"us-west-2\"", "two/us-west-2"),
    ] {
        let config = place.load(&text(more)).unwrap();
        assert_eq!(config.key_stores[0].place.to_string(), at);
        assert_eq!(config.accounts[2].role.as_ref().unwrap().session_name, "xks-preflight");
    }
    for (more, fault) in [
        (
            "account = \"three\"",
            "key_stores[0].account: must be home or the name of one of [[accounts]] (found \"three\")",
        ),
        ("account = \"two\"", "key_stores[0].region: is missing: the account two has several (us-east-1, us-west-2)"),
        (
            "region = \"us-east-1\"",
            "key_stores[0].region: must be a Region of the account home (eu-central-1, eu-west-1): add it to one of \
             [[accounts]] (found \"us-east-1\")",
        ),
    ] {
        let faults = place.faults(&text(more));
        assert!(faults.len() == 1 && faults[0].ends_with(fault), "{faults:?}");
    }
}

#[test]
fn others_can_reach_it_only_with_tls_and_tokens() {
    let place = Place::new();
    let reachable = format!("{GOOD}[listen]\napi = \"0.0.0.0:8480\"\n");
    let faults = place.faults(&reachable);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("without TLS") && faults[1].contains("without [[tokens]]"), "{faults:?}");
    let token = format!("[[tokens]]\nname = \"a\"\nrole = \"viewer\"\nsha256 = \"{HASH}\"\n");
    assert_eq!(place.faults(&format!("{reachable}{token}")).len(), 1);
    assert!(place.faults(&format!("{reachable}allow_insecure = true")).is_empty());
    assert!(place.faults(&format!("{GOOD}[listen]\napi = \"[::1]:0\"")).is_empty());
}

#[test]
#[cfg(feature = "sandbox")]
fn a_certificate_and_its_key_are_loaded_and_strangers_refused() {
    let place = Place::new();
    let [mine, other] = [0, 1].map(|_| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    place.write("server.pem", &mine.cert.pem(), 0o644);
    place.write("server.key", &mine.signing_key.serialize_pem(), 0o600);
    place.write("other.key", &other.signing_key.serialize_pem(), 0o600);
    let token = format!("[[tokens]]\nname = \"a\"\nrole = \"viewer\"\nsha256 = \"{HASH}\"\n");
    let with = |key: &str| {
        format!(
            "{GOOD}[listen]\napi = \"0.0.0.0:0\"\ntls_certificate_file = \"server.pem\"\ntls_key_file = \"{key}\"\n{token}"
        )
    };
    assert!(place.load(&with("server.key")).unwrap().listen.tls.is_some());
    assert_eq!(place.faults(&with("other.key")).len(), 1);
    assert_eq!(place.faults(&with("open")).len(), 1);
    let roots = place.load(&format!("{GOOD}[preflight]\nca_files = [\"server.pem\"]")).unwrap();
    assert!(roots.preflight.trust.is_lab());
}

#[test]
fn waivers_hold_for_their_key_store_until_their_end() {
    let place = Place::new();
    let text = format!(
        "{GOOD}[credentials.a]\nconsole_file = \"proxy-configuration.json\"\n[[key_stores]]\nid = \"cks-1\"\n\
         credential = \"a\"\n[preflight]\npromote = [\"tls.expiry_margin\"]\n[[preflight.waivers]]\n\
         check = \"health.redundancy\"\nkey_store = \"cks-1\"\nowner = \"ann\"\nreason = \"x\"\nuntil = \"2027-01-31T00:00:00Z\"\n"
    );
    let preflight = place.load(&text).unwrap().preflight;
    let [store, other] = ["cks-1", "cks-2"].map(|id| crate::key_store::CustomKeyStoreId::parse(id).unwrap());
    let [before, after] =
        ["2027-01-30T00:00:00Z", "2027-01-31T00:00:00Z"].map(|at| crate::clock::Timestamp::parse(at).unwrap());
    assert_eq!(preflight.judging(Some(&store), before).waivers.len(), 1);
    assert_eq!(preflight.judging(Some(&store), after).waivers.len(), 0);
    assert_eq!(preflight.judging(Some(&other), before).waivers.len(), 0);
    assert_eq!(preflight.judging(None, before).promoted, ["tls.expiry_margin"]);
}

#[test]
fn files_that_are_none() {
    let place = Place::new();
    assert_eq!(place.faults(&"#".repeat(1_048_577)), ["is larger than 1048576 bytes"]);
    let absent = Config::load(Path::new("/absent/config.toml"), &|_| None).unwrap_err();
    assert_eq!(
        absent.to_string(),
        "/absent/config.toml has 1 fault\n  cannot be read: No such file or directory (os error 2)"
    );
    let broken = place.faults("[kms]\nregion = DoNotLeak\nsecret = \"DoNotLeak\n");
    assert!(broken.len() >= 2 && broken[0].starts_with("line 2: is not TOML: "), "{broken:?}");
    let faults = place.load(&(0..300).map(|n| format!("k{n} = 1")).collect::<Vec<_>>().join("\n")).unwrap_err();
    assert_eq!((faults.faults.len(), faults.left_off), (100, 201));
}

proptest! {
    #[test]
    fn no_text_panics_or_leaks(
        lines in proptest::collection::vec(
            r#"\[{1,2}(kms|tokens|credentials\.a|listen|preflight\.waivers|x)\]{1,2}|(region|secret|name|sha256|api|until|env) ?= ?("TestSecretDoNotLeak[0-9]{0,30}"|[0-9a-z.]{0,9}|\{ file = "DoNotLeak" \}|\[.{0,5}\])|\PC{0,40}"#,
            0..12,
        )
    ) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config.toml");
        fs::write(&path, lines.join("\n")).unwrap();
        if let Err(faults) = Config::load(&path, &|_| None) {
            // Values of keys that hold no secrets may be shown; those of secret ones never.
            for fault in faults.faults.iter().filter(|fault| fault.key.ends_with("secret") || fault.key.ends_with("sha256")) {
                prop_assert!(!fault.message.contains("DoNotLeak"), "{}", fault);
            }
        }
    }
}
