//! Properties of the whole room.

use proptest::prelude::*;

use super::*;
use crate::key_store::{CustomKeyStoreId, CustomKeyStoreName};

fn id(text: &str) -> CustomKeyStoreId {
    CustomKeyStoreId::parse(text).unwrap()
}

fn name(text: &str) -> CustomKeyStoreName {
    CustomKeyStoreName::parse(text).unwrap()
}

fn only(patterns: &[&str]) -> Scope {
    Scope::from(patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect::<Vec<_>>())
}

fn principal(grants: &[(Role, Scope)]) -> Principal {
    let grants = grants.iter().map(|(role, scope)| Grant { role: *role, scope: scope.clone() }).collect();
    Principal { name: "ann".to_owned(), how: Method::Token, grants }
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn scope() -> impl Strategy<Value = Scope> {
    let pattern = "(cks-)?[ab*]{1,4}".prop_map(|text| Pattern::parse(&text).unwrap());
    prop_oneof![Just(Scope::All), prop::collection::vec(pattern, 0..3).prop_map(Scope::from)]
}

/// Any key store: ids and names of few letters, so that patterns do match.
fn key_store() -> impl Strategy<Value = (CustomKeyStoreId, Option<CustomKeyStoreName>)> {
    ("cks-[ab]{1,4}", prop::option::of("(cks-)?[ab]{1,4}"))
        .prop_map(|(one, two)| (id(&one), two.map(|text| name(&text))))
}

/// The table of the README, written out once more: a role that gains a permission by mistake shows here.
#[test]
fn roles_are_sets() {
    let table: Vec<(&str, Vec<&str>)> = Role::ALL
        .iter()
        .map(|role| (role.as_str(), role.permissions().iter().map(|one| one.as_str()).collect()))
        .collect();
    let expected = vec![
        ("viewer", vec!["read"]),
        ("prober", vec!["read", "probe"]),
        ("operator", vec!["read", "probe", "change"]),
        ("approver", vec!["read", "probe", "approve"]),
        ("admin", vec!["read", "probe", "change", "approve", "freeze", "break_glass", "administer"]),
    ];
    assert_eq!(table, expected);
    assert_eq!(Role::NAMES.map(|word| Role::parse(word).unwrap()), Role::ALL);
    assert_eq!(Role::parse("Admin"), None);
    assert_eq!(Role::parse(""), None);
}

#[test]
fn what_is_in_a_scope() {
    let (one, named) = (id("cks-1234567890abcdef0"), name("payments-prod"));
    let covered = |pattern: &str| only(&[pattern]).covers(&one, Some(&named));
    for pattern in
        ["cks-1234567890abcdef0", "cks-*", "cks-*0", "payments-prod", "payments-*", "*-prod", "*pay*prod*", "*"]
    {
        assert!(covered(pattern), "{pattern}");
    }
    for pattern in ["cks-1234567890abcdef", "cks-*1", "payments", "Payments-*", "*-prod-*", "prod*", "payments-prod**x"]
    {
        assert!(!covered(pattern), "{pattern}");
    }
    assert!(!only(&["payments-*"]).covers(&one, None), "a name that is not known is in no scope of names");
    assert!(only(&["cks-*"]).covers(&one, None));
    let borrowed = name("cks-1234567890abcdef0");
    assert!(!only(&["cks-1234567890abcdef0"]).covers(&id("cks-2"), Some(&borrowed)), "a name is no id");
}

#[test]
fn patterns_that_are_none() {
    for bad in ["", " ", " prod", "prod ", "a\nb", "\u{7f}", &"a".repeat(257)] {
        assert_eq!(Pattern::parse(bad), Err(InvalidPattern), "{bad:?}");
    }
    assert!(Pattern::parse(&"é".repeat(256)).is_ok());
}

#[test]
fn a_refusal_says_what_was_needed_and_what_there_is() {
    let ann = principal(&[(Role::Viewer, Scope::All), (Role::Operator, only(&["dev-*", "cks-7"]))]);
    let (one, named) = (id("cks-1"), name("prod-1"));
    let told = ann.may(Permission::Change, Some((&one, Some(&named)))).unwrap_err();
    assert_eq!(
        told.to_string(),
        "ann lacks the permission change on key store cks-1; it is viewer of all key stores; operator of dev-*, cks-7"
    );
    assert_eq!(told.key_store(), Some(&one));
    assert_eq!(
        principal(&[]).may(Permission::Read, None).unwrap_err().to_string(),
        "ann lacks the permission read on all key stores; it has no role"
    );
    assert_eq!(
        principal(&[(Role::Viewer, only(&[]))]).may_somewhere(Permission::Read).unwrap_err().to_string(),
        "ann lacks the permission read; it is viewer of no key store"
    );
}

#[test]
fn nobody_in_particular_is_an_operator() {
    let allowed = Permission::ALL.map(|one| Principal::anonymous().may(one, None).is_ok());
    assert_eq!(allowed, [true, true, true, false, false, false, false]);
}

proptest! {
    /// The rule once more, as plainly as it can be said.
    #[test]
    fn allowed_is_what_some_grant_allows(
        grants in prop::collection::vec((role(), scope()), 0..4),
        permission in prop::sample::select(Permission::ALL.to_vec()),
        (id, name) in key_store(),
    ) {
        let ann = principal(&grants);
        let on = ann.may(permission, Some((&id, name.as_ref()))).is_ok();
        let by_some = grants.iter().any(|(role, scope)| role.allows(permission) && scope.covers(&id, name.as_ref()));
        prop_assert_eq!(on, by_some);
        let all = ann.may(permission, None).is_ok();
        prop_assert_eq!(all, grants.iter().any(|(role, scope)| role.allows(permission) && *scope == Scope::All));
        // What holds for all holds for each, and what holds for one holds somewhere.
        prop_assert!(!all || on);
        prop_assert!(!on || ann.may_somewhere(permission).is_ok());
    }

    /// A further grant never takes anything away, and one that is removed never gives anything.
    #[test]
    fn grants_only_add(
        grants in prop::collection::vec((role(), scope()), 0..4),
        further in (role(), scope()),
        permission in prop::sample::select(Permission::ALL.to_vec()),
        (id, name) in key_store(),
    ) {
        let before = principal(&grants).may(permission, Some((&id, name.as_ref()))).is_ok();
        let mut more = grants;
        more.push(further);
        prop_assert!(!before || principal(&more).may(permission, Some((&id, name.as_ref()))).is_ok());
    }

    /// Without grants nothing is allowed, whatever is asked.
    #[test]
    fn nothing_by_default(permission in prop::sample::select(Permission::ALL.to_vec()), (id, name) in key_store()) {
        let nobody = principal(&[]);
        prop_assert!(nobody.may(permission, Some((&id, name.as_ref()))).is_err());
        prop_assert!(nobody.may(permission, None).is_err());
        prop_assert!(nobody.may_somewhere(permission).is_err());
    }

    /// Our `*` is that of regular expressions.
    #[test]
    fn a_star_is_any_characters(pattern in "[ab*]{1,8}", text in "[ab]{1,10}") {
        let expression = format!("^{}$", pattern.replace('*', ".*"));
        let expected = regex::Regex::new(&expression).unwrap().is_match(&text);
        let scope = Scope::Only(vec![Pattern::parse(&pattern).unwrap()]);
        prop_assert_eq!(scope.covers(&id("cks-1"), Some(&name(&text))), expected);
        let (ids, of) = (Scope::Only(vec![Pattern::parse(&format!("cks-{pattern}")).unwrap()]), id(&format!("cks-{text}")));
        prop_assert_eq!(ids.covers(&of, None), expected);
    }

    #[test]
    fn patterns_survive_print_and_parse(text in r"\PC{1,40}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern.clone()));
            prop_assert_eq!(pattern.as_str(), text);
        }
    }
}
