//! Who is next: the jobs that are ready, by priority and by tenant in turn.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::JobId;

/// How many tenants a claim looks at that are at their cap, before it gives up.
const SCAN: usize = 32;
/// Every so many claims begin at the lowest priority.
const LOWEST_FIRST: u64 = 16;

/// The ready jobs of one priority.
///
/// Each tenant that has some stands in the ring once. A claim takes the first
/// job of the tenant in front, who then goes to the end: so each tenant gets
/// one job in a round, however many it has.
#[derive(Debug, Default)]
struct Level {
    ring: VecDeque<Arc<str>>,
    /// By tenant: the jobs by the order in which they were accepted. Nearly all
    /// come at the end and leave at the front; a place is found by halving.
    lanes: HashMap<Arc<str>, VecDeque<(u64, JobId)>>,
    /// All, by since when they are ready.
    since: BTreeSet<(u64, JobId)>,
}

/// What a job is found by among the ready ones.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) level: usize,
    pub(super) tenant: Arc<str>,
    pub(super) ordinal: u64,
    pub(super) since: u64,
}

/// The ready jobs of all priorities.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    levels: [Level; 3],
    turn: u64,
}

impl Lanes {
    pub(super) fn insert(&mut self, place: &Place, id: JobId) {
        let level = &mut self.levels[place.level];
        let lane = level.lanes.entry(Arc::clone(&place.tenant)).or_insert_with(|| {
            level.ring.push_back(Arc::clone(&place.tenant));
            VecDeque::new()
        });
        lane.insert(rank(lane, place.ordinal), (place.ordinal, id));
        level.since.insert((place.since, id));
    }

    pub(super) fn remove(&mut self, place: &Place, id: JobId) {
        let level = &mut self.levels[place.level];
        level.since.remove(&(place.since, id));
        if let Some(lane) = level.lanes.get_mut(&place.tenant) {
            lane.remove(rank(lane, place.ordinal));
            if lane.is_empty() {
                level.lanes.remove(&place.tenant);
                level.ring.retain(|tenant| *tenant != place.tenant);
            }
        }
    }

    /// Takes the next job out of its lane. The caller removes it from `since`.
    pub(super) fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<JobId> {
        let mut order = [0, 1, 2];
        if self.levels.iter().filter(|level| !level.since.is_empty()).count() > 1 {
            self.turn += 1;
            if self.turn.is_multiple_of(LOWEST_FIRST) {
                order.reverse();
            }
        }
        order.into_iter().find_map(|level| self.levels[level].pop(&may))
    }

    /// Forgets since when a job that was popped is ready.
    pub(super) fn left(&mut self, level: usize, since: u64, id: JobId) {
        self.levels[level].since.remove(&(since, id));
    }

    pub(super) fn count(&self) -> u64 {
        self.by_level().iter().sum()
    }

    pub(super) fn by_level(&self) -> [u64; 3] {
        [0, 1, 2].map(|level| self.levels[level].since.len() as u64)
    }

    /// Since when the oldest is ready.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.levels.iter().filter_map(|level| level.since.first()).map(|(since, _)| *since).min()
    }

    /// All, by priority and since when they are ready.
    pub(super) fn iter(&self) -> impl Iterator<Item = JobId> {
        self.levels.iter().flat_map(|level| level.since.iter().map(|(_, id)| *id))
    }

    /// About how many jobs will have been begun when this is, with itself: all
    /// of higher priority, and one of each tenant in each round until its own.
    pub(super) fn position(&self, place: &Place) -> u64 {
        let before: u64 = self.by_level()[..place.level].iter().sum();
        let level = &self.levels[place.level];
        let rank = level.lanes.get(&place.tenant).map_or(0, |lane| rank(lane, place.ordinal) as u64);
        before + (rank * level.ring.len() as u64 + 1).min(level.since.len() as u64)
    }
}

/// How many jobs of a lane were accepted before this one.
fn rank(lane: &VecDeque<(u64, JobId)>, ordinal: u64) -> usize {
    lane.partition_point(|(other, _)| *other < ordinal)
}

impl Level {
    fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<JobId> {
        for _ in 0..self.ring.len().min(SCAN) {
            let tenant = self.ring.pop_front()?;
            if !may(&tenant) {
                self.ring.push_back(tenant);
                continue;
            }
            let lane = self.lanes.get_mut(&tenant)?;
            let job = lane.pop_front();
            if lane.is_empty() {
                self.lanes.remove(&tenant);
            } else {
                self.ring.push_back(tenant);
            }
            return job.map(|(_, id)| id);
        }
        None
    }
}
