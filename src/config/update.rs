//! `[update]`: what an update needs, and how long it waits.

use std::collections::BTreeSet;

use super::raw::Section;
use super::resolve::Resolver;
use super::settings::UpdatePolicy;
use super::{quantity, window};
use crate::key_store::CustomKeyStoreId;
use crate::update::RotationPolicy;

impl Resolver<'_> {
    pub(super) fn update(
        &mut self,
        mut section: Section,
        stores: Option<&BTreeSet<CustomKeyStoreId>>,
        approvers: Option<usize>,
    ) -> Option<UpdatePolicy> {
        let approval = self.approval(&mut section, approvers);
        let plan_expiry = section.duration("plan_expiry");
        let preflight_expiry = section.duration("preflight_expiry");
        let disconnect_wait = section.duration("disconnect_wait");
        let connect_wait = section.duration("connect_wait");
        let poll_interval = section.duration("poll_interval");
        let acknowledge_outage = section.flag("acknowledge_outage");
        let require_green = section.duration("require_green");
        let green_gap = section.duration("green_gap");
        let rotation = section.section("rotation").and_then(|section| self.rotation(section));
        let windows = section.sections("windows").and_then(|all| window::windows(all, stores, self.faults));
        section.finish(self.faults);
        Some(UpdatePolicy {
            approval: approval?,
            plan_expiry: plan_expiry?,
            preflight_expiry: preflight_expiry?,
            disconnect_wait: disconnect_wait?,
            connect_wait: connect_wait?,
            poll_interval: poll_interval?,
            acknowledge_outage: acknowledge_outage?,
            require_green: require_green?,
            green_gap: green_gap?,
            rotation: rotation?,
            windows: windows?,
        })
    }

    fn rotation(&mut self, mut section: Section) -> Option<RotationPolicy> {
        let propagation = section.duration("propagation_wait");
        let least_propagation = section.duration("least_propagation_wait");
        let watch_every = section.duration("watch_interval");
        let look_every = section.duration("look_interval");
        let removal_wait = section.duration("removal_wait");
        let (line, path) = (section.line, section.path.clone());
        section.finish(self.faults);
        let rotation = RotationPolicy {
            propagation: propagation?,
            least_propagation: least_propagation?,
            watch_every: watch_every?,
            look_every: look_every?,
            removal_wait: removal_wait?,
        };
        if rotation.propagation < rotation.least_propagation {
            let least = quantity::show_duration(rotation.least_propagation);
            let why = format!("must be at least least_propagation_wait, which is {least}");
            self.faults.add(line, &format!("{path}.propagation_wait"), why);
            return None;
        }
        Some(rotation)
    }
}
