//! One life: does what the driver does, in a world where processes end at any point.

use super::house::Said;
use super::oracle::Oracle;
use super::*;

/// A life that was lived to its end.
pub(super) struct Lived {
    pub(super) ending: Ending,
    pub(super) events: Vec<Event>,
    pub(super) world: World,
    /// What was denied on the way, in the gate's words.
    pub(super) denied: Vec<String>,
}

impl Lived {
    /// How it ended, in one word, and for refusals why.
    pub(super) fn word(&self) -> String {
        match &self.ending {
            Ending::Refused { reason, .. } => format!("refused: {}", reason.as_str()),
            other => other.status().as_str().to_owned(),
        }
    }
}

struct Life {
    plan: Plan,
    state: State,
    events: Vec<Event>,
    world: World,
    house: House,
    oracle: Oracle,
    denied: Vec<String>,
}

/// Lives one update to its end.
pub(super) fn live(plan: &Plan, world: World, house: House) -> Lived {
    let events = vec![Event::Planned { plan: Box::new(plan.clone()) }];
    let state = State::begin(&events[0]).unwrap();
    let oracle = Oracle::of(plan);
    let mut life = Life { plan: plan.clone(), state, events, world, house, oracle, denied: Vec::new() };
    for _ in 0..5_000 {
        if let Some(ending) = life.state.ending().cloned() {
            return life.over(ending);
        }
        life.turn();
    }
    panic!("no end in sight: {:?} {:?}", life.state.status(), life.world.store.state);
}

impl Life {
    fn over(self, ending: Ending) -> Lived {
        self.oracle.ends(&ending, self.world.shown().as_ref(), &self.house, &self.world);
        let replayed = State::replay(&self.events).unwrap().unwrap();
        assert_eq!(replayed.ending(), Some(&ending));
        for event in &self.events {
            assert!(self.state.clone().apply(event).is_err(), "{} after the end", event.name());
        }
        Lived { ending, events: self.events, world: self.world, denied: self.denied }
    }

    /// One turn of the driver's loop, or of the people around it.
    fn turn(&mut self) {
        self.house.freeze_or_lift(&mut self.world, 60);
        self.tempt();
        let mut news = self.orders();
        rotations::people(&mut self.world, &self.state, &mut news);
        let shown = self.world.shown();
        if news.is_empty() {
            let barriers = self.house.barriers(self.world.now);
            let decided = super::super::decide(&self.state, shown.as_ref(), self.world.moment(), &barriers);
            self.follow(decided, &barriers, shown.as_ref(), &mut news);
        }
        for event in news {
            // A process that ends forgets what it did not record, and how long it waited.
            // What was intended is durable before it is done.
            let intended = matches!(event, Event::StepIntended { .. });
            if !intended && self.world.chance(150) {
                self.world.waited = Duration::ZERO;
                break;
            }
            self.record(event, shown.as_ref());
        }
    }

    fn record(&mut self, event: Event, shown: Option<&KeyStore>) {
        self.state = self.state.clone().apply(&event).unwrap();
        self.oracle.recorded(&event, shown, &self.world);
        self.events.push(event);
        self.world.waited = Duration::ZERO;
        // A restart forgets everything but the events.
        if self.world.chance(20) {
            assert_eq!(State::replay(&self.events).unwrap().as_ref(), Some(&self.state));
        }
    }

    fn follow(&mut self, decided: Decision, barriers: &Barriers, shown: Option<&KeyStore>, news: &mut Vec<Event>) {
        match decided {
            Decision::Preflight(round) => {
                news.push(Event::PreflightStarted { round });
                news.push(Event::PreflightFinished { round, summary: self.probe() });
            }
            Decision::Watch(round) => rotations::look(&self.plan, &self.state, &mut self.world, round, news),
            Decision::AwaitRemoval { until } => {
                rotations::has_propagated(&self.plan, &self.events, self.oracle.since_update(&self.world));
                news.push(Event::RemovalAwaited { until });
            }
            Decision::RequestApproval => news.push(Event::ApprovalRequested {}),
            Decision::BreakGlass { passed_by } => {
                let by = self.plan.requested_by.clone();
                news.push(Event::BrokeGlass { by, reason: "because".into(), passed_by });
            }
            Decision::AwaitGate => self.world.pass_up_to(400),
            Decision::Perform(step) => self.carry_out(Direction::Forward, step, barriers, shown, news),
            Decision::Undo(step) => self.carry_out(Direction::Back, step, barriers, shown, news),
            Decision::Settle(direction, step, outcome) => {
                news.push(Event::StepSettled { direction, step, outcome });
            }
            Decision::RollBack { why } => news.push(Event::RollbackDecided { why }),
            Decision::Wait => self.world.pass(),
            Decision::Rest(pause) => self.world.pass_for(pause),
            Decision::Conclude(ending) => news.push(Event::Concluded { ending }),
        }
    }

    /// A pre-flight; it takes its time, now and then it does not pass, and rarely it is of something else.
    fn probe(&mut self) -> PreflightSummary {
        let verdict = match self.world.random.random_range(0..24) {
            0 => Verdict::Blocked,
            1 => Verdict::Inconclusive,
            _ => Verdict::Ready,
        };
        if self.world.chance(3) {
            self.world.pass_up_to(30);
        }
        let credentials = rotations::seen(&self.plan, &mut self.world);
        let summary = PreflightSummary { credentials, ..summary(&self.plan, verdict, self.world.now) };
        if self.world.chance(80) {
            return PreflightSummary { settings: SettingsDigest::stated("of something else"), ..summary };
        }
        summary
    }

    fn carry_out(
        &mut self,
        direction: Direction,
        step: Step,
        barriers: &Barriers,
        shown: Option<&KeyStore>,
        news: &mut Vec<Event>,
    ) {
        let decided = self.state.permit(direction, step, self.world.now, barriers);
        assert!(decided.is_ok(), "the gate denies what was decided: {decided:?}");
        // Fetching secrets and looking after the lease takes time, in which the world goes on.
        if self.world.chance(3) {
            self.world.pass_up_to(90);
            self.house.freeze_or_lift(&mut self.world, 8);
        }
        let barriers = self.house.barriers(self.world.now);
        let permit = match self.state.permit(direction, step, self.world.now, &barriers) {
            Ok(permit) => permit,
            Err(denied) => return self.denied.push(format!("permit denied: {}", denied.reason())),
        };
        self.oracle.permits(direction, step, &permit, &self.house, self.world.now);
        self.oracle.sends(direction, step, shown.expect("sent to a key store that is gone"), &self.world);
        let attempt = self.state.next_attempt(direction, step);
        news.push(Event::StepIntended { direction, step, attempt });
        // The process may end between its intention and the call.
        if self.world.chance(60) {
            return;
        }
        if let Some(outcome) = self.world.carry_out(&self.plan, &permit) {
            news.push(Event::StepSettled { direction, step, outcome });
        }
    }

    /// Asks the gate for what nobody has decided, and tries events that nothing has led to.
    fn tempt(&mut self) {
        if !self.world.chance(4) {
            return;
        }
        let direction = if self.world.chance(3) { Direction::Back } else { Direction::Forward };
        let step = [Step::Disconnect, Step::Update, Step::Connect][self.world.random.random_range(0..3)];
        let barriers = self.house.barriers(self.world.now);
        if let Ok(permit) = self.state.permit(direction, step, self.world.now, &barriers) {
            self.oracle.permits(direction, step, &permit, &self.house, self.world.now);
        }
        let digest = |text: &str| ApprovalDigest::stated(text);
        let right = self.state.proposal().map_or_else(|| digest("none"), |proposal| proposal.digest().clone());
        let given =
            |by: &str, digest, outage_acknowledged| Event::ApprovalGiven { by: by.into(), digest, outage_acknowledged };
        let forged = match self.world.random.random_range(0..4) {
            0 => given(" ANN", right, true),
            1 => given("bob", digest(self.plan.digest().as_str()), true),
            2 => Event::BrokeGlass { by: "bob".into(), reason: "because".into(), passed_by: Vec::new() },
            _ => Event::Planned { plan: Box::new(self.plan.clone()) },
        };
        assert!(self.state.clone().apply(&forged).is_err(), "{forged:?} while {:?}", self.state.status());
    }

    /// What people want of the update now: agree, cancel, go back.
    fn orders(&mut self) -> Vec<Event> {
        let mut news = Vec::new();
        if self.world.chance(if self.state.proposal().is_some() { 2 } else { 30 })
            && let Some(said) = self.house.says(&mut self.world.random)
            && let Some(event) = self.consent(&said)
        {
            return vec![event];
        }
        if matches!(self.state.phase(), Phase::Running(_)) && self.world.chance(200) {
            news.push(Event::RollbackRequested { by: "operator".into() });
        }
        let begun = matches!(self.state.phase(), Phase::Running(_) | Phase::Rotating(_) | Phase::RollingBack(_));
        if !begun && self.world.chance(200) {
            news.push(Event::CancelRequested { by: "operator".into() });
        }
        news
    }

    /// A person's yes, if it counts: the code under test and the oracle must agree about that.
    fn consent(&mut self, said: &Said) -> Option<Event> {
        let shown = self.state.proposal().map(|proposal| proposal.digest().as_str().to_owned());
        let digest = match (shown, self.world.random.random_range(0..3)) {
            (Some(right), _) if said.right_digest => right,
            // Of the plan alone, cut short, of something else.
            (_, 0) => self.plan.digest().as_str().to_owned(),
            (Some(right), 1) => right[..63].to_owned(),
            _ => "0".repeat(64),
        };
        let digest = ApprovalDigest::stated(&digest);
        let consent = Consent { by: said.by, digest: &digest, outage_acknowledged: said.outage_acknowledged };
        let barriers = self.house.barriers(self.world.now);
        let taken = self.state.consent(&consent, self.world.now, &barriers);
        let counts = self.oracle.counts(said, &self.house, &self.world);
        assert_eq!(taken.is_ok(), counts, "{said:?} became {taken:?}");
        taken.map_err(|denied| self.denied.push(format!("approval denied: {}", denied.reason()))).ok()
    }
}
