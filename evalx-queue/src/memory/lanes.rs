//! Who is next: the jobs that are ready, by priority and by tenant in turn.

use std::collections::{BTreeSet, VecDeque};

use super::job::Job;
use super::names::Names;
use crate::JobId;

/// How many tenants at their cap a claim passes over in a ring.
const SCAN: usize = 32;
/// Of so many claims one begins at the lowest priority, and one at that in the middle.
const ROUND: u64 = 16;

/// The ready jobs of a tenant in one priority, by the order in which they were
/// accepted. Nearly all come at the end and leave at the front.
pub(super) type Lane = VecDeque<(u64, JobId)>;

/// What is known of a tenant.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    /// Jobs that wait, ready or delayed.
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    lanes: [Lane; 3],
}

/// All tenants that have jobs, by number.
pub(super) type Tenants = Names<Tenant>;

/// The ready jobs of one priority.
///
/// Each tenant that has some stands in the ring once. A claim takes the first
/// job of the tenant in front, who then goes to the end: so each tenant gets
/// one job in a round, however many it has.
#[derive(Debug, Default)]
struct Level {
    ring: VecDeque<usize>,
    count: u64,
    /// All, by since when they are ready.
    since: BTreeSet<(u64, JobId)>,
}

/// The ready jobs of all priorities.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    levels: [Level; 3],
    turn: u64,
    /// Whether a claim gave up before it had seen all, after so many tenants at
    /// their cap or so many jobs that had expired.
    pub(super) gave_up: bool,
}

impl Lanes {
    pub(super) fn insert(&mut self, tenants: &mut Tenants, id: JobId, job: &Job) {
        let level = &mut self.levels[job.level()];
        let lane = &mut tenants[job.tenant].data.lanes[job.level()];
        if lane.is_empty() {
            level.ring.push_back(job.tenant);
        }
        lane.insert(rank(lane, job.ordinal), (job.ordinal, id));
        level.count += 1;
        level.since.insert((job.ready_since, id));
    }

    pub(super) fn remove(&mut self, tenants: &mut Tenants, id: JobId, job: &Job) {
        let level = &mut self.levels[job.level()];
        let lane = &mut tenants[job.tenant].data.lanes[job.level()];
        lane.remove(rank(lane, job.ordinal));
        if lane.is_empty() {
            level.ring.retain(|tenant| *tenant != job.tenant);
        }
        level.count -= 1;
        level.since.remove(&(job.ready_since, id));
    }

    /// Takes up to `most` jobs out of their lanes, of no tenant more than `cap`
    /// in flight. They count as in flight; the caller says when they have [`left`](Self::left).
    pub(super) fn pick(&mut self, tenants: &mut Tenants, most: usize, cap: u64) -> Vec<JobId> {
        let mut passes = [SCAN; 3];
        let mut picked = Vec::with_capacity(most.min(usize::try_from(self.count()).unwrap_or(most)));
        for _ in 0..most {
            let mut order = [0, 1, 2];
            if self.levels.iter().filter(|level| level.count > 0).count() > 1 {
                self.turn = (self.turn + 1) % ROUND;
                match self.turn {
                    0 => order.swap(0, 2),
                    8 => order.swap(0, 1),
                    _ => {}
                }
            }
            let pop = |level: usize| self.levels[level].pop(level, tenants, cap, &mut passes[level]);
            match order.into_iter().find_map(pop) {
                Some(id) => picked.push(id),
                None => {
                    let is_cut = |(level, passes): (&Level, usize)| passes == 0 && level.ring.len() > SCAN;
                    self.gave_up = self.levels.iter().zip(passes).any(is_cut);
                    break;
                }
            }
        }
        picked
    }

    /// Forgets since when a job that was picked is ready.
    pub(super) fn left(&mut self, id: JobId, job: &Job) {
        self.levels[job.level()].since.remove(&(job.ready_since, id));
    }

    pub(super) fn count(&self) -> u64 {
        self.levels.iter().map(|level| level.count).sum()
    }

    pub(super) fn by_level(&self) -> [u64; 3] {
        [0, 1, 2].map(|level| self.levels[level].count)
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
    pub(super) fn position(&self, tenants: &Tenants, job: &Job) -> u64 {
        let before: u64 = self.by_level()[..job.level()].iter().sum();
        let level = &self.levels[job.level()];
        let rank = rank(&tenants[job.tenant].data.lanes[job.level()], job.ordinal) as u64;
        before + (rank * level.ring.len() as u64 + 1).min(level.count)
    }
}

/// How many jobs of a lane were accepted before this one.
fn rank(lane: &Lane, ordinal: u64) -> usize {
    match lane.back() {
        Some((last, _)) if *last < ordinal => lane.len(),
        Some((last, _)) if *last == ordinal => lane.len() - 1,
        _ => lane.partition_point(|(other, _)| *other < ordinal),
    }
}

impl Level {
    fn pop(&mut self, level: usize, tenants: &mut Tenants, cap: u64, passes: &mut usize) -> Option<JobId> {
        for _ in 0..self.ring.len() {
            let number = *self.ring.front()?;
            let tenant = &mut tenants[number].data;
            if tenant.in_flight < cap {
                let (_, id) = tenant.lanes[level].pop_front()?;
                tenant.in_flight += 1;
                self.count -= 1;
                self.ring.pop_front();
                if !tenant.lanes[level].is_empty() {
                    self.ring.push_back(number);
                }
                return Some(id);
            }
            *passes = passes.checked_sub(1)?;
            self.ring.rotate_left(1);
        }
        None
    }
}
