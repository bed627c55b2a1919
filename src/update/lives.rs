//! Whole lives of updates against a KMS that behaves at random: whatever it does, no update ends with a key store that
//! was connected and is not, unless it says that it is stuck.

mod connections;
mod oracle;
mod rotations;

use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::check::{Acceptance, CredentialsSeen, Verdict};
use crate::clock::Timestamp;
use crate::id::{IdSource, ReportId, UpdateId};
use crate::key_store::{
    AccessKeyId, Change, Configuration, ConnectionErrorCode, ConnectionState, Connectivity, CredentialRef,
    CredentialSource, CustomKeyStoreId, CustomKeyStoreName, KeyStore, KmsException, ProxyCredential,
    RawSecretAccessKey, XksConfiguration, XksProxyUriEndpoint, XksProxyUriPath,
};

pub(super) const FORMER_ID: &str = "AKIAFORMERFORMERFORM";
const NEW_ID: &str = "AKIANEWNEWNEWNEWNEWN";

pub(super) fn store(state: ConnectionState) -> KeyStore {
    KeyStore {
        id: CustomKeyStoreId::parse("cks-1234567890abcdef0").unwrap(),
        name: CustomKeyStoreName::parse("store").unwrap(),
        created: None,
        state,
        configuration: Configuration::Xks(XksConfiguration {
            endpoint: XksProxyUriEndpoint::parse("https://old.example.com").unwrap(),
            path: XksProxyUriPath::parse("/kms/xks/v1").unwrap(),
            access_key_id: AccessKeyId::parse(FORMER_ID).unwrap(),
            connectivity: Connectivity::PublicEndpoint,
        }),
    }
}

pub(super) fn credential(id: &str, fill: &str) -> CredentialRef {
    let secret = format!("TestSecretDoNotLeak{}", fill.repeat(30));
    ProxyCredential {
        access_key_id: AccessKeyId::parse(id).unwrap(),
        secret_access_key: RawSecretAccessKey::parse(&secret).unwrap(),
    }
    .reference(CredentialSource::Sealed)
}

pub(super) fn endpoint_change() -> Change {
    Change { endpoint: Some(XksProxyUriEndpoint::parse("https://new.example.com").unwrap()), ..Change::default() }
}

fn planned(change: Change, state: ConnectionState, former: Option<CredentialRef>, options: Options) -> Plan {
    let now = Timestamp::from_unix(1_000_000);
    let id = UpdateId::new(&IdSource::from_seed(1), now);
    let (waivers, by) = (Vec::new(), "tester".into());
    let wanted =
        Wanted { id, change, options, former_credential: former, former_password: false, waivers, keys: None, by };
    plan(&store(state), wanted, &Policy::default(), now).unwrap()
}

pub(super) fn summary(plan: &Plan, verdict: Verdict, now: Timestamp) -> PreflightSummary {
    PreflightSummary {
        report: ReportId::new(&IdSource::from_seed(2), now),
        verdict,
        settings: plan.settings(),
        exception: None,
        message: "said the test".into(),
        finished_at: now,
        credentials: None,
    }
}

/// With nothing in the way.
pub(super) fn decide(state: &State, found: Option<&KeyStore>, moment: Moment) -> Decision {
    super::decide(state, found, moment, &Barriers::default())
}

pub(super) fn permit(state: &State, direction: Direction, step: Step, now: Timestamp) -> Result<Permit, Denied> {
    state.permit(direction, step, now, &Barriers::default())
}

/// A KMS with a mind of its own, and the clock.
struct World {
    random: StdRng,
    store: KeyStore,
    secret: &'static str,
    now: Timestamp,
    waited: Duration,
    /// Somebody else may touch the key store.
    others: bool,
    /// A mutation that was sent, and the time until it arrives.
    late: Option<(Mutation, bool, Duration)>,
    /// What the key store is updated to, forward and back.
    sides: Plan,
    /// What the proxy accepts: the new credential, the former one.
    accepts: (bool, bool),
    /// What it accepted when it was last looked at.
    looked: Option<(bool, bool)>,
    /// Time that really passed, which nobody sets.
    elapsed: Duration,
}

impl World {
    fn new(plan: &Plan, seed: u64, others: bool) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            store: plan.expected.clone(),
            secret: "former",
            now: plan.created_at,
            waited: Duration::ZERO,
            others,
            late: None,
            sides: plan.clone(),
            accepts: (true, true),
            looked: None,
            elapsed: Duration::ZERO,
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: self.now, waited: self.waited }
    }

    fn pass(&mut self) {
        let step = Duration::from_secs(self.random.random_range(1..120));
        self.pass_for(step);
    }

    fn pass_for(&mut self, step: Duration) {
        self.now = self.now.plus(step);
        self.waited += step;
        self.elapsed += step;
        if self.others && self.random.random_ratio(1, 300) {
            // Somebody sets the clock.
            self.now = self.now.plus(Duration::from_secs(self.random.random_range(0..1_000)));
        }
        self.store.state = match self.store.state.clone() {
            ConnectionState::Connecting => match self.random.random_range(0..5) {
                0 => ConnectionState::Failed(ConnectionErrorCode::XksProxyTimedOut),
                1 | 2 => ConnectionState::Connected,
                3 => ConnectionState::Disconnected,
                _ => ConnectionState::Connecting,
            },
            ConnectionState::Disconnecting if self.random.random_ratio(2, 3) => ConnectionState::Disconnected,
            other => other,
        };
        if let Some((mutation, forward, left)) = self.late.take() {
            match left.checked_sub(step) {
                Some(left) => self.late = Some((mutation, forward, left)),
                None if self.permits(&mutation) => self.apply(&mutation, forward),
                None => {}
            }
        }
        if self.others && self.random.random_ratio(1, 60) {
            match self.random.random_range(0..3) {
                0 => self.store.state = ConnectionState::Connected,
                1 => self.store.state = ConnectionState::Unrecognized("NEW".into()),
                _ => self.store.name = CustomKeyStoreName::parse("renamed").unwrap(),
            }
        }
    }

    /// Carries a mutation out, or not, and says so, or not.
    fn carry_out(&mut self, plan: &Plan, permit: &Permit) -> Option<StepOutcome> {
        let refused = |exception| {
            Some(StepOutcome::Refused { exception: Some(exception), message: "no".into(), request_id: None })
        };
        if self.random.random_ratio(1, 6) {
            return Some(StepOutcome::NotDone { why: "throttled".into() });
        }
        if self.random.random_ratio(1, 8) {
            return refused(KmsException::KmsInternal);
        }
        let applied = self.random.random_ratio(9, 10);
        let forward = matches!(permit.mutation(), Mutation::Update(change) if **change == plan.change);
        if !self.permits(permit.mutation()) {
            return refused(KmsException::CustomKeyStoreInvalidState);
        }
        if applied {
            self.apply(permit.mutation(), forward);
        } else if self.random.random_ratio(1, 2) {
            // What nobody can see must arrive within the time that is given to it; the rest may take longer.
            let visible = self.sides.standing(&self.store) != Standing::Indistinguishable;
            let longest = if visible { 200 } else { plan.limits.settle().as_secs() };
            let left = Duration::from_secs(self.random.random_range(1..longest));
            self.late = Some((permit.mutation().clone(), forward, left));
        }
        let lost = !applied || self.random.random_ratio(1, 5);
        (!lost).then(|| StepOutcome::Done { request_id: Some("r".into()), how: How::Performed })
    }
}

impl World {
    fn permits(&self, mutation: &Mutation) -> bool {
        let state = &self.store.state;
        match mutation {
            Mutation::Disconnect => !matches!(state, ConnectionState::Disconnected | ConnectionState::Disconnecting),
            Mutation::Connect => *state == ConnectionState::Disconnected,
            Mutation::Update(change) => {
                *state == ConnectionState::Disconnected
                    || (*state == ConnectionState::Connected && change.cold_members().is_empty())
            }
        }
    }

    fn apply(&mut self, mutation: &Mutation, forward: bool) {
        match mutation {
            Mutation::Disconnect => self.store.state = ConnectionState::Disconnecting,
            Mutation::Connect => self.store.state = ConnectionState::Connecting,
            Mutation::Update(change) => {
                if change.credential.is_some() {
                    self.secret = if forward { "new" } else { "former" };
                }
                let side = if forward { &self.sides.new } else { &self.sides.expected };
                self.store.configuration = side.configuration.clone();
                self.store.name = side.name.clone();
            }
        }
    }
}

/// Lives one update to its end; gives the ending, the events and the world left behind.
fn live(plan: &Plan, mut world: World) -> (Ending, Vec<Event>, World) {
    let mut events = vec![Event::Planned { plan: Box::new(plan.clone()) }];
    let mut state = State::begin(&events[0]).unwrap();
    for _ in 0..5_000 {
        if let Some(ending) = state.ending() {
            return (ending.clone(), events, world);
        }
        let mut news = Vec::new();
        // Somebody may be at work in a rotation.
        rotations::people(&mut world, &state, &mut news);
        let orders = !news.is_empty();
        let next =
            if orders { Decision::Rest(Duration::ZERO) } else { decide(&state, Some(&world.store), world.moment()) };
        match next {
            Decision::Preflight(round) => {
                let verdict = match world.random.random_range(0..12) {
                    0 => Verdict::Blocked,
                    1 => Verdict::Inconclusive,
                    _ => Verdict::Ready,
                };
                news.push(Event::PreflightStarted { round });
                let summary =
                    PreflightSummary { credentials: rotations::seen(&mut world), ..summary(plan, verdict, world.now) };
                news.push(Event::PreflightFinished { round, summary });
            }
            Decision::Watch(round) => rotations::look(plan, &state, &mut world, round, &mut news),
            Decision::AwaitRemoval { until } => {
                rotations::has_propagated(plan, &events, &world);
                news.push(Event::RemovalAwaited { until });
            }
            Decision::Rest(pause) => world.pass_for(pause),
            Decision::RequestApproval => news.push(Event::ApprovalRequested {}),
            Decision::BreakGlass { passed_by } => {
                let (by, reason) = (plan.requested_by.clone(), "because".to_owned());
                news.push(Event::BrokeGlass { by, reason, passed_by });
            }
            Decision::AwaitGate => {
                let digest = state.proposal().unwrap().digest();
                let consent = Consent { by: "boss", digest, outage_acknowledged: true };
                news.push(state.consent(&consent, world.now, &Barriers::default()).unwrap());
            }
            decision @ (Decision::Perform(step) | Decision::Undo(step)) => {
                let direction = if decision == Decision::Perform(step) { Direction::Forward } else { Direction::Back };
                let permit = permit(&state, direction, step, world.now).unwrap();
                oracle::allows(plan, &events, direction, step, world.now);
                let attempt = state.next_attempt(direction, step);
                news.push(Event::StepIntended { direction, step, attempt });
                if let Some(outcome) = world.carry_out(plan, &permit) {
                    news.push(Event::StepSettled { direction, step, outcome });
                }
            }
            Decision::Settle(direction, step, outcome) => {
                news.push(Event::StepSettled { direction, step, outcome });
            }
            Decision::RollBack { why } => news.push(Event::RollbackDecided { why }),
            Decision::Wait => world.pass(),
            Decision::Conclude(ending) => news.push(Event::Concluded { ending }),
        }
        if matches!(state.phase(), Phase::Running(_)) && news.is_empty() && world.random.random_ratio(1, 200) {
            news.push(Event::RollbackRequested { by: "operator".into() });
        }
        for event in news {
            // A process that ends forgets what it did not record, and how long it waited.
            // What was intended is durable before it is done.
            let intended = matches!(event, Event::StepIntended { .. });
            if !intended && world.random.random_ratio(1, 150) {
                world.waited = Duration::ZERO;
                break;
            }
            if matches!(&event, Event::StepSettled { step: Step::Update, direction: Direction::Forward, .. }) {
                world.elapsed = Duration::ZERO;
            }
            state = state.apply(&event).unwrap();
            events.push(event);
            world.waited = Duration::ZERO;
            // A restart forgets everything but the events.
            if world.random.random_ratio(1, 20) {
                assert_eq!(State::replay(&events).unwrap().as_ref(), Some(&state));
            }
        }
    }
    panic!("no end in sight: {:?} {:?}", state.status(), world.store.state);
}

/// How many lives a property is tried on: `XKS_PREFLIGHT_LIVES`, where somebody has the time for more.
fn cases(usual: u32) -> u32 {
    std::env::var("XKS_PREFLIGHT_LIVES").ok().and_then(|lives| lives.parse().ok()).unwrap_or(usual)
}

fn changes() -> impl Strategy<Value = (Change, Option<CredentialRef>)> {
    let path = || XksProxyUriPath::parse("/new/kms/xks/v1").unwrap();
    let same_id = || Change { credential: Some(credential(FORMER_ID, "n")), ..Change::default() };
    let former = || Some(credential(FORMER_ID, "f"));
    prop_oneof![
        Just((endpoint_change(), None)),
        Just((Change { path: Some(path()), ..Change::default() }, None)),
        Just((Change { credential: Some(credential(NEW_ID, "n")), ..endpoint_change() }, former())),
        Just((Change { credential: Some(credential(NEW_ID, "n")), ..endpoint_change() }, None)),
        Just((same_id(), former())),
        Just((same_id(), None)),
        Just((Change { path: Some(path()), ..same_id() }, former())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1500)))]

    #[test]
    fn no_life_ends_silently_disconnected(
        (change, former) in changes(),
        connected in any::<bool>(),
        connect in any::<bool>(),
        others in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let state = if connected { ConnectionState::Connected } else { ConnectionState::Disconnected };
        let plan = planned(change, state.clone(), former, Options { connect, acknowledge_outage: true, ..Options::default() });
        let world = World::new(&plan, seed, others);
        let (ending, events, world) = live(&plan, world);
        let replayed = State::replay(&events).unwrap().unwrap();
        prop_assert_eq!(replayed.ending(), Some(&ending));
        let intended = events.iter().any(|event| matches!(event, Event::StepIntended { .. }));
        let secret_changes = plan.change.credential.is_some();
        match ending {
            Ending::Stuck { .. } => {}
            Ending::Unproven { .. } => prop_assert!(false, "no rotation was asked for"),
            Ending::Verified => {
                prop_assert!(plan.standing(&world.store).shows_new());
                prop_assert_eq!(world.store.state == ConnectionState::Connected, plan.ends_connected());
                prop_assert_eq!(world.secret, if secret_changes { "new" } else { "former" });
            }
            Ending::RolledBack { .. } => {
                prop_assert!(intended);
                prop_assert!(plan.standing(&world.store).shows_former());
                prop_assert_eq!(&world.store.state, &plan.expected.state);
                prop_assert_eq!(world.secret, "former");
            }
            Ending::Blocked { .. } | Ending::Refused { .. } | Ending::Abandoned { .. } => {
                if !others {
                    prop_assert!(plan.standing(&world.store).shows_former());
                    prop_assert_eq!(&world.store.state, &state);
                    prop_assert_eq!(world.secret, "former");
                }
            }
        }
    }
}

#[test]
fn the_random_world_leads_to_every_ending() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let former = Some(credential(FORMER_ID, "f"));
        let change = Change { credential: Some(credential(FORMER_ID, "n")), ..endpoint_change() };
        let plan = planned(change, ConnectionState::Connected, former, Options::default());
        let world = World::new(&plan, seed, true);
        let (ending, events, _) = live(&plan, world);
        seen.insert(State::replay(&events).unwrap().unwrap().status().status.as_str());
        if ending == Ending::Verified {
            let intended: Vec<Step> = events
                .iter()
                .filter_map(|event| match event {
                    Event::StepIntended { step, .. } => Some(*step),
                    _ => None,
                })
                .collect();
            assert!(intended.contains(&Step::Disconnect) && intended.contains(&Step::Connect));
        }
    }
    // In this world others act only after something was sent, which nobody may call refused any more; drift and expiry
    // before that have a test of their own below.
    for ending in ["verified", "rolled_back", "blocked", "stuck"] {
        assert!(seen.contains(ending), "{ending} is missing in {seen:?}");
    }
}

/// The state just before the first mutation.
fn walk(plan: &Plan) -> State {
    let mut state = State::begin(&Event::Planned { plan: Box::new(plan.clone()) }).unwrap();
    for round in [Round::First, Round::Last] {
        state = state.apply(&Event::PreflightStarted { round }).unwrap();
        let summary = summary(plan, Verdict::Ready, plan.created_at);
        state = state.apply(&Event::PreflightFinished { round, summary }).unwrap();
    }
    state
}

#[test]
fn a_permit_needs_a_fresh_preflight_of_exactly_these_settings() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let ready = walk(&plan);
    let soon = plan.created_at.plus(Duration::from_mins(1));
    let late = plan.created_at.plus(Duration::from_secs(61));
    assert!(permit(&ready, Direction::Forward, Step::Disconnect, soon).is_ok());
    assert!(matches!(permit(&ready, Direction::Forward, Step::Disconnect, late), Err(Denied::Stale { .. })));
    assert!(permit(&ready, Direction::Forward, Step::Update, soon).is_err(), "not the first step");
    assert!(permit(&ready, Direction::Back, Step::Update, soon).is_err(), "nothing to go back from");
    let now = plan.created_at;
    let moment = Moment { now: late, waited: Duration::ZERO };
    assert_eq!(decide(&ready, Some(&plan.expected), moment), Decision::Preflight(Round::Last));
    assert_eq!(ready.status().status, StatusName::Preflighting);

    let mut other = summary(&plan, Verdict::Ready, now);
    other.settings = SettingsDigest::stated("others");
    let state = State::begin(&Event::Planned { plan: Box::new(plan.clone()) }).unwrap();
    let state = state.apply(&Event::PreflightStarted { round: Round::First }).unwrap();
    let state = state.apply(&Event::PreflightFinished { round: Round::First, summary: other }).unwrap();
    let moment = Moment { now, waited: Duration::ZERO };
    assert!(matches!(
        decide(&state, Some(&plan.expected), moment),
        Decision::Conclude(Ending::Blocked { by: BlockedBy::Preflight(_), .. })
    ));
}

#[test]
fn drift_and_expiry_refuse_before_the_first_mutation() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let ready = walk(&plan);
    let refused = |found: Option<&KeyStore>, now| {
        matches!(
            decide(&ready, found, Moment { now, waited: Duration::ZERO }),
            Decision::Conclude(Ending::Refused { .. })
        )
    };
    let mut drifted = plan.expected.clone();
    drifted.name = CustomKeyStoreName::parse("renamed").unwrap();
    assert!(refused(Some(&drifted), plan.created_at));
    assert!(refused(Some(&store(ConnectionState::Disconnecting)), plan.created_at));
    assert!(refused(None, plan.created_at));
    assert!(refused(Some(&plan.expected), plan.expires_at.plus(Duration::from_secs(1))));
    assert!(!refused(Some(&plan.expected), plan.created_at));
}

#[test]
fn cancelling_is_for_updates_that_changed_nothing() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let ready = walk(&plan);
    let cancelled = ready.clone().apply(&Event::CancelRequested { by: "op".into() }).unwrap();
    let moment = Moment { now: plan.created_at, waited: Duration::ZERO };
    assert_eq!(
        decide(&cancelled, Some(&plan.expected), moment),
        Decision::Conclude(Ending::Abandoned { by: "op".into() })
    );
    let running = ready
        .apply(&Event::StepIntended { direction: Direction::Forward, step: Step::Disconnect, attempt: 1 })
        .unwrap();
    assert_eq!(running.status(), Status { status: StatusName::Running, step: Some("disconnect") });
    assert!(running.apply(&Event::CancelRequested { by: "op".into() }).is_err());
}

#[test]
fn a_recorded_plan_cannot_be_altered() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    let altered = json.replace("new.example.com", "bad.example.com");
    let error = serde_json::from_str::<Plan>(&altered).unwrap_err();
    assert!(error.to_string().contains("was altered"), "{error}");
}

#[test]
fn a_plan_and_a_probe_of_the_same_settings_agree() {
    let held = credential(FORMER_ID, "f");
    let plan = planned(endpoint_change(), ConnectionState::Connected, Some(held.clone()), Options::default());
    let subject = crate::check::Subject {
        endpoint: "https://new.example.com".into(),
        path: "/kms/xks/v1".into(),
        connectivity: crate::key_store::ConnectivityKind::PublicEndpoint,
        vpc_endpoint_service: None,
        region: crate::key_store::Region::parse("us-east-1").unwrap(),
        access_key_id: FORMER_ID.into(),
        secret: crate::check::SecretEvidence::WellFormed {
            estimated_bits: 256.0,
            documented_example: false,
            fingerprint: held.fingerprint.to_string(),
        },
        connect_to: vec!["127.0.0.1:1".into()],
        longest_key_id: None,
        lab: false,
        cluster: None,
    };
    assert_eq!(SettingsDigest::stated(&subject.kms_settings_digest()), plan.settings());
    let other = crate::check::Subject { endpoint: "https://old.example.com".into(), ..subject };
    assert_ne!(SettingsDigest::stated(&other.kms_settings_digest()), plan.settings());
}

/// The plan's steps up to an attempt of `step` that was sent and never answered.
fn lost(plan: &Plan, step: Step) -> State {
    let direction = Direction::Forward;
    let mut state = walk(plan);
    for earlier in &plan.steps {
        state = state.apply(&Event::StepIntended { direction, step: *earlier, attempt: 1 }).unwrap();
        if *earlier == step {
            break;
        }
        let outcome = StepOutcome::Done { request_id: None, how: How::Performed };
        state = state.apply(&Event::StepSettled { direction, step: *earlier, outcome }).unwrap();
    }
    let outcome = StepOutcome::NotSeen { why: "as before".into() };
    state.apply(&Event::StepSettled { direction, step, outcome }).unwrap()
}

#[test]
fn a_first_step_that_takes_effect_late_is_seen_through_or_undone() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let state = lost(&plan, Step::Disconnect);
    let later = Moment { now: plan.created_at, waited: Duration::from_mins(1) };
    // Nobody may say any more that nothing was changed.
    assert!(state.clone().apply(&Event::CancelRequested { by: "op".into() }).is_err());
    assert_eq!(decide(&state, Some(&plan.expected), later), Decision::Perform(Step::Disconnect));
    let disconnecting = store(ConnectionState::Disconnecting);
    let seen = decide(&state, Some(&disconnecting), later);
    assert!(
        matches!(seen, Decision::Settle(Direction::Forward, Step::Disconnect, StepOutcome::Done { .. })),
        "{seen:?}"
    );
    // It is not sent again on a pre-flight of long ago.
    let long_after = Moment { now: plan.created_at.plus(Duration::from_mins(5)), ..later };
    assert!(matches!(decide(&state, Some(&plan.expected), long_after), Decision::RollBack { .. }));
    assert!(permit(&state, Direction::Forward, Step::Disconnect, long_after.now).is_err());
}

#[test]
fn a_repeated_connect_that_is_refused_because_the_first_arrived_is_no_failure() {
    let plan = planned(endpoint_change(), ConnectionState::Connected, None, Options::default());
    let direction = Direction::Forward;
    let step = Step::Connect;
    let state = lost(&plan, step).apply(&Event::StepIntended { direction, step, attempt: 2 }).unwrap();
    let exception = Some(KmsException::CustomKeyStoreInvalidState);
    let outcome = StepOutcome::Refused { exception, message: "it is CONNECTING".into(), request_id: None };
    let state = state.apply(&Event::StepSettled { direction, step, outcome }).unwrap();
    let moment = Moment { now: plan.created_at, waited: Duration::ZERO };
    let connecting = KeyStore { state: ConnectionState::Connecting, ..plan.new.clone() };
    assert!(matches!(decide(&state, Some(&connecting), moment), Decision::Settle(_, Step::Connect, _)));
    let untouched = KeyStore { state: ConnectionState::Disconnected, ..plan.new.clone() };
    assert!(matches!(decide(&state, Some(&untouched), moment), Decision::RollBack { .. }));
}
