//! Lives of rotations: a proxy that loses credentials, people who remove the wrong one, and time.

use super::*;

/// What a probe sees of both credentials; now and then it cannot tell.
pub(super) fn seen(world: &mut World) -> Option<CredentialsSeen> {
    world.sides.rotation.as_ref()?;
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
    let credentials = seen(world);
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
pub(super) fn has_propagated(plan: &Plan, events: &[Event], world: &World) {
    let needed = plan.rotation.as_ref().unwrap().propagation();
    let watched: u64 = events
        .iter()
        .filter_map(|event| match event {
            Event::Watched { round: Round::Propagation, waited_ms, .. } => Some(*waited_ms),
            _ => None,
        })
        .sum();
    assert!(Duration::from_millis(watched) >= needed, "watched for {watched} ms only");
    assert!(world.elapsed >= needed, "{:?} after the update", world.elapsed);
    assert!(needed >= PROPAGATION);
}

pub(super) fn planned_rotation(new_id: &str) -> Plan {
    let now = Timestamp::from_unix(1_000_000);
    let change = Change { credential: Some(credential(new_id, "n")), ..Change::default() };
    let wanted = Wanted {
        id: UpdateId::new(&IdSource::from_seed(1), now),
        change,
        options: Options { rotate: Some(Rotate::default()), ..Options::default() },
        former_credential: Some(credential(FORMER_ID, "f")),
        former_password: false,
        waivers: Vec::new(),
        keys: None,
        by: "tester".into(),
    };
    let rotation = RotationPolicy { removal_wait: Duration::from_hours(6), ..RotationPolicy::default() };
    plan(&store(ConnectionState::Connected), wanted, &Policy { rotation, ..Policy::default() }, now).unwrap()
}

/// How a rotation ended, and whether that is true of the world it left behind.
pub(super) fn judged(plan: &Plan, ending: &Ending, world: &World) -> &'static str {
    let connected = world.store.state == ConnectionState::Connected;
    match ending {
        Ending::Stuck { .. } => {}
        Ending::Verified => {
            assert!(connected && plan.standing(&world.store).shows_new() && world.secret == "new");
            assert_eq!(world.looked, Some((true, false)), "proven, and not true");
        }
        Ending::Unproven { .. } => {
            assert!(connected && plan.standing(&world.store).shows_new() && world.secret == "new");
        }
        Ending::RolledBack { .. } => {
            assert!(connected && plan.standing(&world.store).shows_former() && world.secret == "former");
        }
        Ending::Blocked { .. } | Ending::Refused { .. } | Ending::Abandoned { .. } => {
            assert!(world.others || (connected && world.secret == "former"));
        }
    }
    match ending {
        Ending::Unproven { by: Some(_), .. } => "ended by a person",
        Ending::Unproven { by: None, .. } => "nobody removed it",
        other => other.status().as_str(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1500)))]

    #[test]
    fn no_rotation_ends_disconnected_or_proves_what_is_not_so(
        same_id in any::<bool>(),
        others in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let plan = planned_rotation(if same_id { FORMER_ID } else { NEW_ID });
        let (ending, events, world) = live(&plan, World::new(&plan, seed, others));
        let replayed = State::replay(&events).unwrap().unwrap();
        prop_assert_eq!(replayed.ending(), Some(&ending));
        judged(&plan, &ending, &world);
    }
}

#[test]
fn rotations_come_to_every_ending() {
    let mut endings = std::collections::BTreeMap::new();
    for seed in 0..2_000 {
        let plan = planned_rotation(NEW_ID);
        let (ending, _, world) = live(&plan, World::new(&plan, seed, true));
        *endings.entry(judged(&plan, &ending, &world)).or_insert(0_u32) += 1;
    }
    for ending in ["verified", "rolled_back", "stuck", "blocked", "ended by a person"] {
        assert!(endings.contains_key(ending), "{ending} is missing in {endings:?}");
    }
}
