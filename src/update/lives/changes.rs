//! Lives of changes of settings, with nobody in the house.

use super::*;

fn a_change(mut random: StdRng, tally: &mut Tally) {
    let (change, former) = any_change(&mut random);
    let state = if random.random() { ConnectionState::Connected } else { ConnectionState::Disconnected };
    let options = Options { connect: random.random(), acknowledge_outage: true, ..Options::default() };
    let plan = planned(change, state, former, options);
    let others = random.random();
    let lived = live(&plan, World::new(&plan, random, others), House::empty());
    assert!(!matches!(lived.ending, Ending::Unproven { .. }), "no rotation was asked for");
    // Somebody else may have connected it before us.
    if lived.ending == Ending::Verified && !others {
        let intended: Vec<Step> = lived.events.iter().filter_map(intended).collect();
        assert!(plan.steps.iter().all(|step| intended.contains(step)), "verified after {intended:?}");
    }
    tally.count(lived.word());
}

fn intended(event: &Event) -> Option<Step> {
    match event {
        Event::StepIntended { step, .. } => Some(*step),
        _ => None,
    }
}

#[test]
fn no_change_ends_silently_disconnected() {
    lives("changes", 1_500, a_change).has(&[
        "verified",
        "rolled_back",
        "blocked",
        "stuck",
        "abandoned",
        "refused: drift",
        "refused: gone",
        "refused: no_effect",
    ]);
}
