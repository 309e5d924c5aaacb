//! [`PoolStatistics`]: how full a pool is.

/// How full a pool is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// Each image's shelf.
    pub shelves: Vec<ShelfStatistics>,
    /// Containers that wait for the next session of their submission.
    pub parked: usize,
    /// Containers that are being made at this moment.
    pub making: usize,
    /// The most that ever were at once.
    pub most_making: usize,
    /// Sessions that are open.
    pub sessions: usize,
    /// Containers that exist, or may exist, in all.
    pub containers: usize,
}

/// How full the shelf of one image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShelfStatistics {
    /// The image.
    pub image: String,
    /// How many spares it is to have.
    pub target: usize,
    /// How many it has.
    pub spare: usize,
    /// How many are being made, or wait for their turn to be.
    pub creating: usize,
    /// Sessions that wait for one.
    pub waiting: usize,
    /// Why the last attempt to make one failed, if it did.
    pub failure: Option<String>,
}
