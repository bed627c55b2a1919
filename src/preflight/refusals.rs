//! What is asked after the samples, of addresses that answered them: requests that the proxy must refuse, requests that
//! tell why it refuses a right one, the settings that KMS has until the change has reached it, other protocol offers.
//!
//! Everything runs on fresh connections and nothing of it counts for latency. Addresses are asked side by side, each of
//! them one request after the other. The requests that must be refused are sent only if somebody asked for them,
//! because they look like an attack in the proxy's log; and only where the right request is carried out, because
//! elsewhere a refusal says nothing.

use std::time::Duration;

use futures_util::future::join_all;

use super::gather::Asked;
use super::{Candidate, Thoroughness};
use crate::check::{
    AddressEvidence, Deviation, Evidence, ExchangeEvidence, FormerSettings, FormerTrial, Guess, Guessed,
    RefusalEvidence, TOLERATED_SKEW,
};
use crate::key_store::Region;
use crate::probe::{Destination, Prober, Target};
use crate::xks::{ErrorName, Refusal};

/// How long one such request may take: what is slow is told by the samples.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most guesses at a refused signature: a proxy may count refusals and lock a credential out.
const MOST_GUESSES: usize = 4;

/// Regions that a proxy may have been set up for by mistake: those of AWS's examples, and the busiest.
const PLAUSIBLE_REGIONS: [&str; 4] = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1"];

/// Asks on, and adds what it learns to the evidence.
pub(super) async fn look_further(asked: &Asked<'_>, thoroughness: &Thoroughness, evidence: &mut Evidence) {
    let Asked { prober, candidate, target, .. } = *asked;
    let answering = asked.those(evidence, |address| address.exchanges().next().is_some());
    let serving = asked.those(evidence, |address| address.exchanges().any(ExchangeEvidence::is_carried_out));
    let refusing = asked.those(evidence, |address| refused_signature(address).is_some());
    let refused = evidence.addresses.iter().find_map(refused_signature);
    let refused = refusing.first().copied().zip(refused);
    let guesses = match refused.filter(|_| thoroughness.diagnosis) {
        Some((address, exchange)) => {
            let guesses = guesses(target, candidate.vpc_endpoint_service.as_deref(), exchange.clock_ahead());
            diagnose(prober, target, address, guesses).await
        }
        None => Vec::new(),
    };
    let former = former(prober, target, candidate, &answering).await;
    evidence.offers = join_all(answering.iter().map(|address| prober.offers(target, *address, PATIENCE))).await;
    evidence.signature.guesses = guesses;
    evidence.signature.former = former;
    if thoroughness.refusals {
        let tried = join_all(serving.iter().map(|address| try_all(prober, target, *address))).await;
        evidence.refusals = Some(RefusalEvidence { trials: tried.into_iter().flatten().collect() });
    }
}

async fn try_all(prober: &Prober, target: &Target, address: Destination) -> Vec<crate::check::Trial> {
    let mut trials = Vec::new();
    for deviation in Deviation::ALL {
        trials.push(prober.trial(target, address, deviation, PATIENCE).await);
    }
    trials
}

fn refused_signature(address: &AddressEvidence) -> Option<&ExchangeEvidence> {
    address.exchanges().find(|exchange| is_refused_signature(exchange))
}

fn is_refused_signature(exchange: &ExchangeEvidence) -> bool {
    Refusal::parse(&exchange.body).is_ok_and(|refusal| refusal.name == Some(ErrorName::AuthenticationFailed))
}

/// Tries one guess after the other until one hits.
async fn diagnose(prober: &Prober, target: &Target, address: Destination, guesses: Vec<Guess>) -> Vec<Guessed> {
    let mut tried = Vec::new();
    for guess in guesses {
        let answer = prober.guess(target, address, &guess, PATIENCE).await;
        let hit = answer.as_ref().is_ok_and(ExchangeEvidence::is_carried_out);
        tried.push(Guessed { address: address.address(), guess, answer });
        if hit {
            break;
        }
    }
    tried
}

/// What to try, the likeliest first. If the clocks differ, every guess is signed at the proxy's time: another mistake
/// would not show otherwise.
fn guesses(target: &Target, service: Option<&str>, ahead: Option<f64>) -> Vec<Guess> {
    let clock = ahead.filter(|seconds| seconds.abs() >= TOLERATED_SKEW);
    let host = target.endpoint.host();
    let named = [host, target.path.as_str(), service.unwrap_or_default()]
        .into_iter()
        .find_map(|text| named_region(text).filter(|region| *region != target.region));
    let plausible = PLAUSIBLE_REGIONS.iter().filter_map(|text| Region::parse(text).ok());
    let plausible = plausible.filter(|region| *region != target.region && Some(region) != named.as_ref());
    let in_region = |region| Guess { clock, region: Some(region), host: None };
    let with_port = Guess { clock, region: None, host: Some(format!("{host}:443")) };
    let lower = host.to_ascii_lowercase();
    let in_lower_case = (lower != host).then_some(Guess { clock, region: None, host: Some(lower) });
    clock
        .map(|_| Guess { clock, ..Guess::default() })
        .into_iter()
        .chain(named.clone().map(in_region))
        .chain(in_lower_case)
        .chain([with_port])
        .chain(plausible.map(in_region))
        .take(MOST_GUESSES)
        .collect()
}

/// A Region that a name tells of, such as that of `xks-eu-west-1.example.com`.
fn named_region(text: &str) -> Option<Region> {
    text.split(['.', '/', '_']).find_map(|label| {
        let words: Vec<&str> = label.split('-').collect();
        (0..words.len()).find_map(|from| {
            let begins_so = words.get(from).is_some_and(|word| word.len() == 2);
            let region = |length: usize| Region::parse(&words.get(from..from + length)?.join("-")).ok();
            begins_so.then(|| region(3).or_else(|| region(4))).flatten()
        })
    })
}

/// Asks for health with the settings that KMS has now, as far as they lead to the same endpoint.
async fn former(prober: &Prober, target: &Target, candidate: &Candidate, addresses: &[Destination]) -> FormerSettings {
    let Some(baseline) = candidate.baseline.as_deref() else { return FormerSettings::Unknown };
    if baseline.endpoint.canonical() != target.endpoint.canonical() {
        return FormerSettings::OtherEndpoint;
    }
    let other_credential = baseline.credential != target.credential;
    let other_path = (baseline.path != target.path).then(|| baseline.path.to_string());
    if !other_credential && other_path.is_none() {
        return FormerSettings::Same;
    }
    let now_in_kms = Target { path: baseline.path.clone(), credential: baseline.credential.clone(), ..target.clone() };
    let right = Guess::default();
    let asked = addresses.iter().map(|address| prober.guess(&now_in_kms, *address, &right, PATIENCE));
    let answers = addresses.iter().map(|address| address.address()).zip(join_all(asked).await).collect();
    let access_key_id = baseline.credential.access_key_id.to_string();
    FormerSettings::Tried(FormerTrial { access_key_id, other_credential, other_path, answers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_store::{AccessKeyId, ProxyCredential, RawSecretAccessKey, XksProxyUriEndpoint, XksProxyUriPath};

    fn target(endpoint: &str, region: &str) -> Target {
        Target {
            endpoint: XksProxyUriEndpoint::parse(endpoint).unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            region: Region::parse(region).unwrap(),
            credential: ProxyCredential {
                access_key_id: AccessKeyId::parse("AKIAI2SFODNN7EXAMPLE").unwrap(),
                secret_access_key: RawSecretAccessKey::parse("TestSecretDoNotLeak0123456789012345678901234567")
                    .unwrap(),
            },
            kms_operation: "KmsHealthCheck".to_owned(),
        }
    }

    fn words(guesses: &[Guess]) -> Vec<String> {
        guesses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_likeliest_guesses_come_first_and_there_are_four_at_most() {
        assert_eq!(
            words(&guesses(&target("https://Xks.example.com", "us-east-1"), None, Some(2.0))),
            [
                "with Host xks.example.com",
                "with Host Xks.example.com:443",
                "for Region us-west-2",
                "for Region eu-west-1"
            ]
        );
        assert_eq!(
            words(&guesses(&target("https://xks-ap-south-1.example.com", "eu-west-1"), None, None)),
            [
                "for Region ap-south-1",
                "with Host xks-ap-south-1.example.com:443",
                "for Region us-east-1",
                "for Region us-west-2"
            ]
        );
        let late = guesses(&target("https://xks.example.com", "us-east-1"), None, Some(-600.0));
        assert_eq!(late.len(), MOST_GUESSES);
        assert_eq!(words(&late)[0], "at the proxy's own time");
        assert!(late.iter().all(|guess| guess.clock == Some(-600.0)));
    }

    #[test]
    fn regions_are_found_in_names() {
        let named = |text| named_region(text).map(|region| region.to_string());
        for (text, region) in [
            ("xks-eu-west-1.example.com", Some("eu-west-1")),
            ("us-gov-west-1.xks.example.com", Some("us-gov-west-1")),
            ("com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0", Some("us-east-1")),
            ("/tenant_eu-central-1/kms/xks/v1", Some("eu-central-1")),
            ("xks.example.com", None),
            ("xks-proxy-1.example.com", None),
        ] {
            assert_eq!(named(text).as_deref(), region, "{text}");
        }
    }
}
