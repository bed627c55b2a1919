use std::sync::Mutex;

use super::*;
use crate::check::Cluster;
use crate::cloudhsm::ClusterError;
use crate::key_store::{AccountName, CloudHsmClusterId, Configuration, ConnectionState, CustomKeyStoreName, Region};
use crate::kms::KeyStoreDescription;

/// One place of which the stores are known, or which does not answer; and what it was asked to change.
#[derive(Default)]
struct Answering(Mutex<Option<Vec<KeyStore>>>, Mutex<Vec<CustomKeyStoreId>>);

impl Answering {
    fn with(ids: &[&str]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(ids.iter().map(|id| store(id)).collect())), Mutex::default()))
    }

    fn change(&self, ids: Option<&[&str]>) {
        *self.0.lock().unwrap() = ids.map(|ids| ids.iter().map(|id| store(id)).collect());
    }
}

#[async_trait]
impl KeyStoreReader for Answering {
    async fn key_stores(&self) -> Result<Vec<KeyStore>, KmsError> {
        let stores = self.0.lock().unwrap().clone();
        stores.ok_or(KmsError::Ambiguous { operation: DESCRIBE, why: "silence".into() })
    }

    async fn key_store(&self, id: &CustomKeyStoreId) -> Result<KeyStore, KmsError> {
        let found = self.key_stores().await?.into_iter().find(|store| store.id == *id);
        found.ok_or(KmsError::Refused {
            operation: DESCRIBE,
            exception: KmsException::CustomKeyStoreNotFound,
            message: String::new(),
            request_id: None,
        })
    }
}

#[async_trait]
impl KeyStoreWriter for Answering {
    async fn carry_out(&self, permit: Permit, _: &Secrets) -> Result<Receipt, KmsError> {
        self.1.lock().unwrap().push(permit.key_store().clone());
        Ok(Receipt { request_id: None })
    }
}

#[async_trait]
impl KeyStoreDescriber for Answering {
    async fn descriptions(&self) -> Result<Vec<KeyStoreDescription>, KmsError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ClusterReader for Answering {
    async fn clusters(&self, _: &[CloudHsmClusterId]) -> Result<Vec<Cluster>, ClusterError> {
        Ok(Vec::new())
    }
}

fn id(text: &str) -> CustomKeyStoreId {
    CustomKeyStoreId::parse(text).unwrap()
}

fn store(text: &str) -> KeyStore {
    KeyStore {
        id: id(text),
        name: CustomKeyStoreName::parse(text).unwrap(),
        created: None,
        state: ConnectionState::Connected,
        configuration: Configuration::Unrecognized { why: "a test".into() },
    }
}

fn place(account: &str) -> Place {
    Place { account: AccountName::parse(account).unwrap(), region: Region::parse("us-east-1").unwrap() }
}

fn places(of: &[(&str, &Arc<Answering>)], expected: &[(&str, &str)]) -> Places {
    let ports = of.iter().map(|(account, answering)| PlacePorts {
        place: place(account),
        reader: Arc::clone(answering) as Arc<dyn KeyStoreReader>,
        describer: Arc::clone(answering) as Arc<dyn KeyStoreDescriber>,
        writer: Some(Arc::clone(answering) as Arc<dyn KeyStoreWriter>),
        maker: None,
        vpc: None,
        clusters: Arc::clone(answering) as Arc<dyn ClusterReader>,
        security_groups: None,
        permissions: None,
    });
    let places = Places::new(ports.collect());
    places.expect(expected.iter().map(|(store, account)| (id(store), Some(place(account)))));
    places
}

#[tokio::test]
async fn a_call_goes_to_the_place_that_told_of_the_key_store() {
    let (home, away) = (Answering::with(&["cks-1"]), Answering::with(&["cks-2", "cks-3"]));
    let places = places(&[("home", &home), ("away", &away)], &[("cks-9", "away")]);
    assert_eq!(places.place_of(&id("cks-2")), None);
    assert_eq!(places.place_of(&id("cks-9")), Some(&place("away")), "the configuration says so");
    // Nobody has told of it yet: all are asked.
    assert_eq!(places.key_store(&id("cks-2")).await.unwrap().id, id("cks-2"));
    assert_eq!(places.place_of(&id("cks-2")), Some(&place("away")));
    for account in ["home", "away"] {
        places.look(&place(account)).await.unwrap();
    }
    assert_eq!(places.beside(&id("cks-3")).await.unwrap().len(), 2);
    assert_eq!(places.beside(&id("cks-1")).await.unwrap().len(), 1);
    assert_eq!(places.key_stores().await.unwrap().len(), 3);
    away.change(None);
    assert!(places.key_store(&id("cks-1")).await.is_ok(), "the silence of one place is none of the other's");
    assert!(places.key_store(&id("cks-2")).await.is_err());
}

#[tokio::test]
async fn what_is_found_nowhere_is_absent_only_if_every_place_says_so() {
    let (home, away) = (Answering::with(&["cks-1"]), Answering::with(&[]));
    let places = places(&[("home", &home), ("away", &away)], &[]);
    assert!(places.key_store(&id("cks-7")).await.unwrap_err().is_not_found());
    away.change(None);
    let unknown = places.key_store(&id("cks-7")).await.unwrap_err();
    assert!(!unknown.is_not_found(), "{unknown}");
    // Where it was is known: it is gone, whatever the others do.
    places.look(&place("home")).await.unwrap();
    home.change(Some(&[]));
    places.look(&place("home")).await.unwrap();
    assert!(places.key_store(&id("cks-1")).await.unwrap_err().is_not_found());
    assert!(matches!(places.beside(&id("cks-7")).await, Err(KmsError::NotSent { .. })));
}

#[tokio::test]
async fn one_account_under_two_names_is_told_and_the_first_has_the_stores() {
    let both = Answering::with(&["cks-1"]);
    let places = places(&[("home", &both), ("again", &both)], &[]);
    // The second may come first.
    places.look(&place("again")).await.unwrap();
    places.look(&place("home")).await.unwrap();
    let twice = places.look(&place("again")).await.unwrap_err().to_string();
    assert!(twice.contains("cks-1 is in home/us-east-1, too"), "{twice}");
    assert_eq!(places.place_of(&id("cks-1")), Some(&place("home")));
}

#[tokio::test]
async fn a_change_goes_to_the_writer_of_the_key_store_s_place_and_nowhere_else() {
    let (home, away) = (Answering::with(&["cks-1"]), Answering::with(&["cks-2"]));
    let places = places(&[("home", &home), ("away", &away)], &[("cks-9", "away")]);
    let change = async |text: &str, mutation| places.carry_out(Permit::stated(id(text), mutation), &no_secrets()).await;
    let seen = || (home.1.lock().unwrap().clone(), away.1.lock().unwrap().clone());
    // Nobody has told where these are, and nobody is asked: nothing is sent.
    for unknown in ["cks-1", "cks-2", "cks-7"] {
        let refused = change(unknown, Mutation::Disconnect).await.unwrap_err();
        assert!(matches!(&refused, KmsError::NotSent { operation: "DisconnectCustomKeyStore", .. }), "{refused}");
    }
    assert_eq!(seen(), (vec![], vec![]));
    for account in ["home", "away"] {
        places.look(&place(account)).await.unwrap();
    }
    for known in ["cks-2", "cks-9", "cks-1"] {
        change(known, Mutation::Connect).await.unwrap();
    }
    assert_eq!(seen(), (vec![id("cks-1")], vec![id("cks-2"), id("cks-9")]));
    assert!(change("cks-7", Mutation::Connect).await.is_err());
    assert_eq!(seen().0.len() + seen().1.len(), 3);
}

fn no_secrets() -> Secrets {
    Secrets { credential: None, password: None }
}
