//! A KMS with a mind of its own, other people who use its console, a proxy, and the clock.

use super::*;

pub(super) struct World {
    pub(super) random: StdRng,
    pub(super) store: KeyStore,
    /// Whether somebody deleted the key store.
    pub(super) gone: bool,
    /// The credential in force, which nobody can see.
    pub(super) secret: CredentialRef,
    /// Wall time, which somebody may set.
    pub(super) now: Timestamp,
    /// As in [`Moment::waited`].
    pub(super) waited: Duration,
    /// Time that really passed, which nobody sets.
    pub(super) elapsed: Duration,
    /// Whether somebody else may touch the key store and the clock.
    pub(super) others: bool,
    /// A mutation that was sent, and the time until it arrives.
    late: Option<(Mutation, Duration)>,
    /// How many mutations of ours have had their effect.
    pub(super) effects: u32,
    /// What the proxy accepts: the new credential, the former one.
    pub(super) accepts: (bool, bool),
    /// What it accepted when it was last looked at.
    pub(super) looked: Option<(bool, bool)>,
}

impl World {
    pub(super) fn new(plan: &Plan, random: StdRng, others: bool) -> Self {
        Self {
            random,
            store: plan.expected.clone(),
            gone: false,
            secret: former_credential(),
            now: plan.created_at,
            waited: Duration::ZERO,
            elapsed: Duration::ZERO,
            others,
            late: None,
            effects: 0,
            accepts: (true, true),
            looked: None,
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.now, waited: self.waited }
    }

    /// What DescribeCustomKeyStores answers.
    pub(super) fn shown(&self) -> Option<KeyStore> {
        (!self.gone).then(|| self.store.clone())
    }

    /// Whether something of ours may still arrive.
    pub(super) fn expects(&self) -> bool {
        self.late.is_some()
    }

    pub(super) fn chance(&mut self, of: u32) -> bool {
        self.random.random_ratio(1, of)
    }

    pub(super) fn pass(&mut self) {
        self.pass_up_to(120);
    }

    pub(super) fn pass_up_to(&mut self, seconds: u64) {
        let step = Duration::from_secs(self.random.random_range(1..seconds));
        self.pass_for(step);
    }

    pub(super) fn pass_for(&mut self, step: Duration) {
        self.now = self.now.plus(step);
        self.waited += step;
        self.elapsed += step;
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
        if let Some((mutation, left)) = self.late.take() {
            match left.checked_sub(step) {
                Some(left) => self.late = Some((mutation, left)),
                None if self.permits(&mutation) => self.apply(&mutation),
                None => {}
            }
        }
        if self.others {
            self.others_act();
        }
    }

    fn others_act(&mut self) {
        if self.chance(300) {
            // Somebody sets the clock.
            let by = Duration::from_secs(self.random.random_range(0..1_000));
            self.now = if self.chance(3) { self.now.minus(by) } else { self.now.plus(by) };
        }
        if self.chance(60) {
            match self.random.random_range(0..12) {
                0..4 => self.store.state = ConnectionState::Connected,
                4..7 => self.store.state = ConnectionState::Unrecognized("NEW".into()),
                7..9 => self.store.name = CustomKeyStoreName::parse("renamed").unwrap(),
                9 => self.store.state = ConnectionState::Disconnecting,
                10 => self.xks().endpoint = XksProxyUriEndpoint::parse("https://foreign.example.com").unwrap(),
                _ => self.gone = true,
            }
        }
    }

    /// Carries a mutation out, or not, and says so, or not.
    pub(super) fn carry_out(&mut self, plan: &Plan, permit: &Permit) -> Option<StepOutcome> {
        let refused = |exception| {
            Some(StepOutcome::Refused { exception: Some(exception), message: "no".into(), request_id: None })
        };
        if self.chance(6) {
            return Some(StepOutcome::NotDone { why: "throttled".into() });
        }
        if self.chance(16) {
            return refused(KmsException::KmsInternal);
        }
        if self.gone {
            return refused(KmsException::CustomKeyStoreNotFound);
        }
        if !self.permits(permit.mutation()) {
            return refused(KmsException::CustomKeyStoreInvalidState);
        }
        let applied = self.random.random_ratio(9, 10);
        if applied {
            self.apply(permit.mutation());
        } else if self.chance(2) {
            // What nobody can see must arrive within the time that is given to it; the rest may take longer.
            let longest = if is_visible(plan) { 200 } else { plan.limits.settle().as_secs() };
            let left = Duration::from_secs(self.random.random_range(1..longest));
            self.late = Some((permit.mutation().clone(), left));
        }
        let lost = !applied || self.chance(5);
        (!lost).then(|| StepOutcome::Done { request_id: Some("r".into()), how: How::Performed })
    }

    /// Which states KMS takes a mutation in.
    fn permits(&self, mutation: &Mutation) -> bool {
        let state = &self.store.state;
        match mutation {
            _ if self.gone => false,
            Mutation::Disconnect => !matches!(state, ConnectionState::Disconnected | ConnectionState::Disconnecting),
            Mutation::Connect => *state == ConnectionState::Disconnected,
            Mutation::Update(change) => {
                let hot = change.endpoint.is_none();
                *state == ConnectionState::Disconnected || (*state == ConnectionState::Connected && hot)
            }
        }
    }

    fn apply(&mut self, mutation: &Mutation) {
        self.effects += 1;
        match mutation {
            Mutation::Disconnect => self.store.state = ConnectionState::Disconnecting,
            Mutation::Connect => self.store.state = ConnectionState::Connecting,
            Mutation::Update(change) => {
                let Change { name, endpoint, path, credential, .. } = Change::clone(change);
                if let Some(name) = name {
                    self.store.name = name;
                }
                let xks = self.xks();
                if let Some(endpoint) = endpoint {
                    xks.endpoint = endpoint;
                }
                if let Some(path) = path {
                    xks.path = path;
                }
                if let Some(credential) = credential {
                    xks.access_key_id = credential.access_key_id.clone();
                    self.secret = credential;
                }
            }
        }
    }

    fn xks(&mut self) -> &mut XksConfiguration {
        match &mut self.store.configuration {
            Configuration::Xks(xks) => xks,
            other => panic!("not an external key store: {other:?}"),
        }
    }
}

/// Whether DescribeCustomKeyStores shows any of the change: of a credential it shows the access key id alone.
pub(super) fn is_visible(plan: &Plan) -> bool {
    let Change { name, endpoint, path, credential, .. } = &plan.change;
    let id_changes = credential.as_ref().is_some_and(|new| new.access_key_id.as_str() != FORMER_ID);
    name.is_some() || endpoint.is_some() || path.is_some() || id_changes
}
