//! What may be sent and how a life may end, told anew from what was recorded and from what is true. Nothing here asks the
//! gate, the state or the decision: it was written apart from them.

use std::collections::BTreeSet;

use super::house::Said;
use super::world::is_visible;
use super::*;

/// Watches one life.
#[expect(clippy::struct_excessive_bools, reason = "what was recorded, each by itself")]
pub(super) struct Oracle {
    plan: Plan,
    /// What the pre-flights that were recorded had found, in order.
    probed: Vec<(Round, PreflightSummary)>,
    asked_for_approval: bool,
    agreed: BTreeSet<String>,
    broke_glass: bool,
    pub(super) cancelled: bool,
    going_back: bool,
    sent: Vec<Sent>,
    /// How many steps of the plan are recorded as done.
    done: usize,
    /// Whether something of ours is known to have had an effect, or may have had one that nobody sees.
    begun: bool,
    /// When the update was known to be done, by the clock that nobody sets.
    updated: Option<Duration>,
}

/// A mutation that was intended, and sent unless the process ended just then.
struct Sent {
    direction: Direction,
    step: Step,
    /// By the clock that nobody sets.
    at: Duration,
    outcome: Option<StepOutcome>,
}

impl Sent {
    fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    fn was_answered(&self) -> bool {
        matches!(
            self.outcome,
            Some(StepOutcome::Done { .. } | StepOutcome::Refused { .. } | StepOutcome::NotDone { .. })
        )
    }
}

/// One person, however the name is written.
fn person(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect()
}

impl Oracle {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            probed: Vec::new(),
            asked_for_approval: false,
            agreed: BTreeSet::new(),
            broke_glass: false,
            cancelled: false,
            going_back: false,
            sent: Vec::new(),
            done: 0,
            begun: false,
            updated: None,
        }
    }

    fn needs_people(&self) -> usize {
        match self.plan.approval {
            ApprovalRule::None => 0,
            ApprovalRule::One => 1,
            ApprovalRule::Two => 2,
        }
    }

    /// Takes note of what was recorded; `shown` is what the key store showed then.
    pub(super) fn recorded(&mut self, event: &Event, shown: Option<&KeyStore>, world: &World) {
        match event {
            Event::PreflightFinished { round, summary } => self.probed.push((*round, summary.clone())),
            Event::ApprovalRequested {} => self.asked_for_approval = true,
            Event::ApprovalGiven { by, .. } => drop(self.agreed.insert(person(by))),
            Event::BrokeGlass { .. } => self.broke_glass = true,
            Event::CancelRequested { .. } => self.cancelled = true,
            Event::RollbackDecided { .. } => self.going_back = true,
            Event::StepIntended { direction, step, .. } => {
                let (direction, step) = (*direction, *step);
                self.sent.push(Sent { direction, step, at: world.elapsed, outcome: None });
            }
            Event::StepSettled { direction, step, outcome } => {
                self.settled(*direction, *step, outcome, shown);
                if (direction, step) == (&Direction::Forward, &Step::Update) {
                    self.updated = Some(world.elapsed);
                }
            }
            _ => {}
        }
    }

    fn settled(&mut self, direction: Direction, step: Step, outcome: &StepOutcome, shown: Option<&KeyStore>) {
        if let StepOutcome::Done { how: How::FoundAlreadySo, .. } = outcome {
            let shown = shown.expect("found in a key store that is gone");
            assert!(self.shows(direction, step, shown), "{step} is found done, and {shown:?} does not show it");
        }
        if let StepOutcome::NotSeen { .. } = outcome {
            let shown = shown.expect("not seen in a key store that is gone");
            assert!(!self.shows(direction, step, shown), "{step} is not seen, and {shown:?} shows it");
        }
        if let StepOutcome::Unobservable { .. } = outcome {
            assert!(step == Step::Update && !is_visible(&self.plan), "{step} can be seen");
        }
        if let Some(open) = self.sent.last_mut().filter(|last| last.is_open()) {
            assert!((open.direction, open.step) == (direction, step), "another step was intended");
            open.outcome = Some(outcome.clone());
        }
        if outcome.is_done() {
            self.begun = true;
        }
        if direction == Direction::Forward && outcome.is_done() {
            self.done += 1;
        }
    }

    /// How long the update has been known to be done.
    pub(super) fn since_update(&self, world: &World) -> Duration {
        self.updated.map_or(Duration::ZERO, |updated| world.elapsed.saturating_sub(updated))
    }

    /// Whether the key store shows the effect of a mutation.
    fn shows(&self, direction: Direction, step: Step, shown: &KeyStore) -> bool {
        use ConnectionState::{Connected, Connecting, Disconnected, Disconnecting, Failed};
        match (step, direction) {
            (Step::Disconnect, _) => matches!(shown.state, Disconnecting | Disconnected),
            (Step::Connect, _) => matches!(shown.state, Connecting | Connected | Failed(_)),
            (Step::Update, Direction::Forward) => is_visible(&self.plan) && has_settings_of(shown, &self.plan.new),
            (Step::Update, Direction::Back) => is_visible(&self.plan) && has_settings_of(shown, &self.plan.expected),
        }
    }

    /// Whether a person's yes counts.
    pub(super) fn counts(&self, said: &Said, house: &House, world: &World) -> bool {
        let someone = person(said.by);
        let awaited = self.asked_for_approval && self.agreed.len() < self.needs_people();
        let known = said.outage_acknowledged || !self.plan.steps.contains(&Step::Disconnect);
        awaited
            && !self.cancelled
            && world.now <= self.plan.expires_at
            && said.right_digest
            && known
            && !someone.is_empty()
            && someone != AUTHOR
            && !self.agreed.contains(&someone)
            && !house.is_frozen(world.now)
    }

    /// Fails the life if this mutation must not be permitted now.
    pub(super) fn permits(&self, direction: Direction, step: Step, permit: &Permit, house: &House, now: Timestamp) {
        let plan = &self.plan;
        assert!(permit.update() == plan.id && *permit.key_store() == plan.key_store && permit.plan() == plan.digest());
        match (step, permit.mutation()) {
            (Step::Disconnect, Mutation::Disconnect) | (Step::Connect, Mutation::Connect) => {}
            (Step::Update, Mutation::Update(change)) => self.is_its_change(direction, change),
            other => panic!("the permit is for something else: {other:?}"),
        }
        assert!(!self.sent.last().is_some_and(Sent::is_open), "nobody knows how the last one ended: {step}");
        if direction == Direction::Back {
            assert!(self.going_back, "nobody decided to go back: {step}");
            return;
        }
        assert!(!self.going_back, "forward after it was decided to go back: {step}");
        assert_eq!(plan.steps.get(self.done), Some(&step), "not the next step of {:?}", plan.steps);
        if !self.begun {
            self.permits_the_first(step, house, now);
        }
    }

    fn is_its_change(&self, direction: Direction, change: &Change) {
        let plan = &self.plan;
        match direction {
            Direction::Forward => assert_eq!(*change, plan.change),
            Direction::Back => {
                assert_eq!(change.members(), plan.change.members());
                let xks = plan.expected.xks().unwrap();
                assert!(change.name.as_ref().is_none_or(|name| *name == plan.expected.name));
                assert!(change.endpoint.as_ref().is_none_or(|endpoint| *endpoint == xks.endpoint));
                assert!(change.path.as_ref().is_none_or(|path| *path == xks.path));
                assert!(change.credential.as_ref().is_none_or(|credential| *credential == former_credential()));
            }
        }
    }

    fn permits_the_first(&self, step: Step, house: &House, now: Timestamp) {
        let plan = &self.plan;
        assert!(!self.cancelled, "it was cancelled: {step}");
        assert!(now <= plan.expires_at, "the plan had expired");
        let first = self.probed.iter().find(|(round, _)| *round == Round::First).expect("no first pre-flight");
        let last = self.probed.last().expect("no pre-flight");
        assert_eq!(last.0, Round::Last, "no pre-flight directly before the first mutation");
        let anything_goes = plan.reconnect_unproven && plan.steps == [Step::Disconnect];
        for (round, passed) in [first, last] {
            assert_eq!(passed.settings, plan.settings(), "{round:?}: other settings");
            // A disconnect that was asked for in spite of what is found, and of what is out of use already, needs no more.
            assert!(passed.verdict == Verdict::Ready || anything_goes, "{round:?}: {:?}", passed.verdict);
            if plan.rotation.is_some() {
                let both = CredentialsSeen { new: Acceptance::Accepted, former: Acceptance::Accepted };
                assert_eq!(passed.credentials, Some(both), "{round:?}: both credentials are not seen accepted");
            }
        }
        let age = now.seconds_since(last.1.finished_at);
        assert!((0.0..=60.0).contains(&age), "a pre-flight of {age} s ago");
        if plan.break_glass.is_some() {
            assert!(self.broke_glass, "the glass was passed through unbroken");
            return;
        }
        let needed = self.needs_people();
        assert!(self.agreed.len() >= needed, "{needed} must agree, and {:?} did", self.agreed);
        assert!(!house.is_frozen(now), "frozen: {step}");
        let out_of_use = step == Step::Disconnect && plan.expected.state == ConnectionState::Connected;
        assert!(!out_of_use || house.is_open(now), "no window is open: {step}");
        assert!(house.is_watched(&self.plan, now), "not green for long enough: {step}");
    }

    /// Fails the life if this mutation must not be sent to a key store that shows this.
    pub(super) fn sends(&self, direction: Direction, step: Step, shown: &KeyStore, world: &World) {
        use ConnectionState::{Connected, Connecting, Disconnected, Disconnecting};
        let plan = &self.plan;
        if direction == Direction::Forward && !self.begun {
            assert!(has_settings_of(shown, &plan.expected) && shown.state == plan.expected.state, "drift: {shown:?}");
        }
        let ours = has_settings_of(shown, &plan.expected) || has_settings_of(shown, &plan.new);
        assert!(ours, "somebody else's settings: {shown:?}");
        // Never again what is seen to have had its effect.
        match step {
            Step::Disconnect => assert!(!matches!(shown.state, Disconnecting | Disconnected), "again: {step}"),
            Step::Connect => assert!(!matches!(shown.state, Connecting | Connected), "again: {step}"),
            Step::Update
                if is_visible(plan) && (direction == Direction::Forward || plan.change.credential.is_none()) =>
            {
                assert!(!self.shows(direction, step, shown), "again: {step}");
            }
            Step::Update => {}
        }
        let same = |sent: &&Sent| (sent.direction, sent.step) == (direction, step);
        let before: Vec<_> = self.sent.iter().filter(same).collect();
        assert!(before.len() < 4, "{step} was sent {} times already", before.len());
        if direction == Direction::Forward {
            let over =
                |outcome: &StepOutcome| matches!(outcome, StepOutcome::Done { .. } | StepOutcome::Refused { .. });
            assert!(
                !before.iter().any(|sent| sent.outcome.as_ref().is_some_and(over)),
                "{step} was answered already, and is sent again"
            );
        }
        if let Some(last) = self.sent.last().filter(|last| !last.was_answered()) {
            // The same values again are no second mutation by guess, and only where nothing else can tell.
            let blind = matches!(last.outcome, Some(StepOutcome::Unobservable { .. })) && same(&last);
            let looked_for = world.elapsed.saturating_sub(last.at);
            assert!(
                blind || looked_for >= plan.limits.settle(),
                "{step}, {looked_for:?} after a call without an answer"
            );
        }
    }

    /// Fails the life if it must not end so.
    pub(super) fn ends(&self, ending: &Ending, shown: Option<&KeyStore>, house: &House, world: &World) {
        let (plan, now) = (&self.plan, world.now);
        let open = world.effects > 0 || world.expects();
        match ending {
            Ending::Stuck { why, instruction } => assert!(!why.is_empty() && !instruction.is_empty()),
            Ending::Verified | Ending::Unproven { .. } => {
                let shown = shown.expect("verified, and gone");
                assert!(has_settings_of(shown, &plan.new), "verified, and shows {shown:?}");
                let connected = plan.expected.state == ConnectionState::Connected && plan.steps != [Step::Disconnect];
                let to = if connected || plan.steps.contains(&Step::Connect) {
                    ConnectionState::Connected
                } else {
                    ConnectionState::Disconnected
                };
                assert_eq!(shown.state, to, "verified");
                let secret = plan.change.credential.clone().unwrap_or_else(former_credential);
                assert_eq!(world.secret, secret, "verified");
                if plan.steps != [Step::Disconnect] {
                    let verified = self.probed.iter().rev().find(|(round, _)| *round == Round::Verification);
                    let (_, verified) = verified.expect("verified without a verification");
                    assert!(verified.verdict == Verdict::Ready && verified.settings == plan.settings(), "{verified:?}");
                }
            }
            Ending::RolledBack { .. } => {
                let shown = shown.expect("restored, and gone");
                assert!(self.going_back && !self.sent.is_empty(), "nothing to go back from");
                assert!(has_settings_of(shown, &plan.expected), "restored, and shows {shown:?}");
                // A FAILED key store cannot be made FAILED again.
                let failed = matches!(plan.expected.state, ConnectionState::Failed(_));
                assert!(failed || shown.state == plan.expected.state, "restored, and {}", shown.state);
                assert_eq!(world.secret, former_credential(), "restored");
            }
            Ending::Blocked { by: BlockedBy::Preflight(_), .. } => {
                let (_, last) = self.probed.last().expect("blocked by no pre-flight");
                let both = CredentialsSeen { new: Acceptance::Accepted, former: Acceptance::Accepted };
                let unseen = plan.rotation.is_some() && last.credentials != Some(both);
                let passed = last.verdict == Verdict::Ready && last.settings == plan.settings();
                assert!(!open && (!passed || unseen), "blocked by {last:?}");
            }
            Ending::Blocked { by: BlockedBy::Kms, .. } => {
                let last = self.sent.last().and_then(|sent| sent.outcome.as_ref());
                assert!(!open && matches!(last, Some(StepOutcome::Refused { .. })), "blocked by {last:?}");
            }
            Ending::Abandoned { .. } => assert!(!open && self.cancelled),
            Ending::Refused { reason, why } => {
                let drifted = shown
                    .is_some_and(|shown| !has_settings_of(shown, &plan.expected) || shown.state != plan.expected.state);
                let so = match reason {
                    Refusal::Expired => now > plan.expires_at,
                    Refusal::Drift => drifted,
                    Refusal::Gone => shown.is_none(),
                    Refusal::NoEffect => self.sent.len() >= 4,
                    Refusal::Frozen => house.is_frozen(now),
                    Refusal::OutsideWindow => !house.is_open(now),
                    Refusal::NotGreen => !house.is_watched(plan, now),
                    Refusal::Unnamed => false,
                };
                assert!(!open && so, "refused for no reason: {why}");
            }
        }
        self.is_not_forgotten(ending, shown);
    }

    /// The one promise above all: keys that could be used can be used, or were meant not to be, or a person is called.
    fn is_not_forgotten(&self, ending: &Ending, shown: Option<&KeyStore>) {
        let was_connected = self.plan.expected.state == ConnectionState::Connected;
        let is_connected = shown.is_some_and(|shown| shown.state == ConnectionState::Connected);
        let meant = *ending == Ending::Verified && self.plan.steps == [Step::Disconnect];
        let by_others = self
            .sent
            .iter()
            .all(|sent| matches!(sent.outcome, Some(StepOutcome::Refused { .. } | StepOutcome::NotDone { .. })));
        let calls = matches!(ending, Ending::Stuck { .. });
        assert!(!was_connected || is_connected || meant || by_others || calls, "forgotten: {ending:?}, {shown:?}");
    }
}

/// Whether a key store shows these settings, its connection state aside.
fn has_settings_of(shown: &KeyStore, side: &KeyStore) -> bool {
    shown.id == side.id && shown.name == side.name && shown.configuration == side.configuration
}
