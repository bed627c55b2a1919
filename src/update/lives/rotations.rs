//! Lives of rotations: a proxy that loses credentials, people who remove the wrong one, and time.

use super::*;

/// What a probe sees of both credentials; now and then it cannot tell.
pub(super) fn seen(plan: &Plan, world: &mut World) -> Option<CredentialsSeen> {
    plan.rotation.as_ref()?;
    let told = |accepted| if accepted { Acceptance::Accepted } else { Acceptance::Refused };
    let seen = CredentialsSeen { new: told(world.accepts.0), former: told(world.accepts.1) };
    match world.random.random_range(0..40) {
        0 => None,
        1 => Some(CredentialsSeen { former: Acceptance::Unclear, ..seen }),
        2 if !world.accepts.0 => Some(CredentialsSeen { new: Acceptance::Differs, ..seen }),
        _ => Some(seen),
    }
}

/// One look, recorded as the driver records it.
pub(super) fn look(plan: &Plan, state: &State, world: &mut World, round: Round, news: &mut Vec<Event>) {
    // The look itself takes time, too.
    world.pass_for(Duration::from_secs(1));
    let credentials = seen(plan, world);
    world.looked = Some(world.accepts);
    let verdict = match (world.accepts.0, world.random.random_range(0..30)) {
        (false, _) | (true, 0) => Verdict::Blocked,
        (true, 1) => Verdict::Inconclusive,
        (true, _) => Verdict::Ready,
    };
    let summary = PreflightSummary { credentials, ..summary(plan, verdict, world.now) };
    if state.is_news(round, &summary) {
        let waited_ms = u64::try_from(world.waited.as_millis()).unwrap();
        news.push(Event::Watched { round, waited_ms, summary });
    } else {
        world.waited = Duration::ZERO;
    }
}

/// What people do at the proxy and order here, rarely.
pub(super) fn people(world: &mut World, state: &State, news: &mut Vec<Event>) {
    let Phase::Rotating(rotating) = state.phase() else { return };
    let waits = !matches!(rotating.stage(), Stage::Propagate { .. });
    let op = || "operator".to_owned();
    match world.random.random_range(0..400) {
        0 => world.accepts.0 = false,
        1 => world.accepts = (true, true),
        2 => world.accepts.1 = false,
        3..40 if waits => world.accepts.1 = false,
        40..60 if waits => news.push(Event::RemovalReported { by: op() }),
        60..62 => news.push(Event::RollbackRequested { by: op() }),
        62..64 => news.push(Event::CancelRequested { by: op() }),
        64 if world.others => world.store.state = ConnectionState::Disconnecting,
        // A restart forgets how long was waited, and nothing else.
        65..80 => world.waited = Duration::ZERO,
        _ => {}
    }
    // An order that is not possible now is refused, as the driver does.
    news.retain(|event| state.clone().apply(event).is_ok());
}

/// Whoever asks for the removal has watched for the whole time, by a clock that nobody sets.
pub(super) fn has_propagated(plan: &Plan, events: &[Event], since_update: Duration) {
    let needed = plan.rotation.as_ref().unwrap().propagation();
    let watched: u64 = events
        .iter()
        .filter_map(|event| match event {
            Event::Watched { round: Round::Propagation, waited_ms, .. } => Some(*waited_ms),
            _ => None,
        })
        .sum();
    assert!(Duration::from_millis(watched) >= needed, "watched for {watched} ms only");
    assert!(since_update >= needed, "{since_update:?} after the update");
    assert!(needed >= PROPAGATION);
}

fn planned_rotation(new_id: &str) -> Plan {
    let change = Change { credential: Some(credential(new_id, "n")), ..Change::default() };
    let options = Options { rotate: Some(Rotate::default()), ..Options::default() };
    let rotation = RotationPolicy { removal_wait: Duration::from_hours(6), ..RotationPolicy::default() };
    let policy = Policy { rotation, ..Policy::default() };
    plan(&store(ConnectionState::Connected), wanted(change, Some(former_credential()), options), &policy, beginning())
        .unwrap()
}

fn a_rotation(mut random: StdRng, tally: &mut Tally) {
    let plan = planned_rotation(if random.random() { FORMER_ID } else { NEW_ID });
    let (others, gated) = (random.random(), random.random_ratio(1, 4));
    let house = if gated { House::any(&mut random) } else { House::empty() };
    let lived = live(&plan, World::new(&plan, random, others), house);
    if lived.ending == Ending::Verified {
        assert_eq!(lived.world.looked, Some((true, false)), "proven, and not true");
    }
    match &lived.ending {
        Ending::Unproven { by: Some(_), .. } => tally.count("ended by a person"),
        Ending::Unproven { by: None, .. } => tally.count("nobody removed it"),
        _ => tally.count(lived.word()),
    }
}

#[test]
fn no_rotation_ends_disconnected_or_proves_what_is_not_so() {
    lives("rotations", 1_500, a_rotation).has(&["verified", "rolled_back", "stuck", "blocked", "ended by a person"]);
}
