//! [`CompileCache`]: what was compiled before, and what is just being compiled.
//!
//! It is bounded by bytes and forgets what was not used for longest. Equal
//! compiles at the same time are one compile: the others wait for it, and if
//! it is cancelled, one of them takes over.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OnceCell;

use crate::{ByteSize, Result};

/// The SHA-256 of all that decides what a compiler makes.
pub(crate) type Key = [u8; 32];

/// A value that the cache keeps: how many bytes it takes, and whether it is worth it.
pub(crate) trait Weigh: Send + Sync {
    /// Bytes in memory; `None` if it must not be kept.
    fn weight(&self) -> Option<u64>;
}

/// A cache of values that are dear to make.
pub(crate) struct CompileCache<V> {
    capacity: u64,
    state: Mutex<State<V>>,
}

struct State<V> {
    kept: HashMap<Key, Kept<V>>,
    /// The keys by the time of their last use.
    by_use: BTreeMap<u64, Key>,
    clock: u64,
    weight: u64,
    flights: HashMap<Key, Weak<OnceCell<Arc<V>>>>,
}

struct Kept<V> {
    value: Arc<V>,
    weight: u64,
    used: u64,
}

impl<V: Weigh> CompileCache<V> {
    /// A cache that keeps at most `capacity`; with none, equal compiles at the
    /// same time are still one.
    pub(crate) fn new(capacity: ByteSize) -> Self {
        let state = State {
            kept: HashMap::new(),
            by_use: BTreeMap::new(),
            clock: 0,
            weight: 0,
            flights: HashMap::new(),
        };
        Self { capacity: capacity.as_u64(), state: Mutex::new(state) }
    }

    /// The value of `key`, and whether somebody else had made it.
    ///
    /// An error is not shared: those who wait make the value themselves.
    pub(crate) async fn get_or_make<F: Future<Output = Result<V>> + Send>(
        &self,
        key: Key,
        make: impl FnOnce() -> F + Send,
    ) -> Result<(Arc<V>, bool)> {
        let flight = {
            let mut state = self.state();
            if let Some(value) = state.hit(&key) {
                return Ok((value, true));
            }
            state.flight(key)
        };
        let mut made_here = false;
        let value = flight
            .get_or_try_init(|| async {
                let value = Arc::new(make().await?);
                made_here = true;
                // Kept before the flight ends, so that nobody finds neither.
                self.state().keep(key, &value, self.capacity);
                Ok(value)
            })
            .await?;
        Ok((Arc::clone(value), !made_here))
    }

    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Weigh> State<V> {
    fn hit(&mut self, key: &Key) -> Option<Arc<V>> {
        let kept = self.kept.get_mut(key)?;
        self.by_use.remove(&kept.used);
        self.clock += 1;
        kept.used = self.clock;
        self.by_use.insert(kept.used, *key);
        Some(Arc::clone(&kept.value))
    }

    /// The compile of `key` that is under way, or a new one.
    fn flight(&mut self, key: Key) -> Arc<OnceCell<Arc<V>>> {
        self.flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = self.flights.get(&key).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::default();
        self.flights.insert(key, Arc::downgrade(&flight));
        flight
    }

    fn keep(&mut self, key: Key, value: &Arc<V>, capacity: u64) {
        let Some(weight) = value.weight().filter(|weight| *weight <= capacity) else { return };
        self.clock += 1;
        let kept = Kept { value: Arc::clone(value), weight, used: self.clock };
        self.by_use.insert(self.clock, key);
        self.weight += weight;
        if let Some(old) = self.kept.insert(key, kept) {
            self.by_use.remove(&old.used);
            self.weight -= old.weight;
        }
        while self.weight > capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.weight -= self.kept.remove(&oldest).map_or(0, |kept| kept.weight);
        }
    }
}

impl<V> fmt::Debug for CompileCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("CompileCache")
            .field("kept", &state.kept.len())
            .field("weight", &ByteSize::bytes(state.weight))
            .field("capacity", &ByteSize::bytes(self.capacity))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind};
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    impl Weigh for u64 {
        fn weight(&self) -> Option<u64> {
            (*self != 0).then_some(*self)
        }
    }

    fn key(number: u8) -> Key {
        [number; 32]
    }

    /// Asks for a key; whether it was there.
    async fn ask(cache: &CompileCache<u64>, number: u8, weight: u64) -> bool {
        cache.get_or_make(key(number), || async { Ok(weight) }).await.unwrap().1
    }

    #[tokio::test]
    async fn what_was_not_used_for_longest_is_forgotten() {
        let cache = CompileCache::new(ByteSize::bytes(10));
        assert!(!ask(&cache, 1, 4).await);
        assert!(!ask(&cache, 2, 4).await);
        assert!(ask(&cache, 1, 4).await);
        assert!(!ask(&cache, 3, 4).await, "3 pushes 2 out");
        assert!(ask(&cache, 1, 4).await);
        assert!(!ask(&cache, 2, 4).await, "2 was forgotten, and pushes 3 out");
        assert!(!ask(&cache, 4, 11).await, "what is too large pushes nothing out");
        assert!(ask(&cache, 1, 4).await && ask(&cache, 2, 4).await);
        assert!(!ask(&cache, 5, 0).await && !ask(&cache, 5, 0).await, "what has no weight is not kept");
    }

    #[tokio::test]
    async fn equal_makes_at_the_same_time_are_one() {
        let cache = CompileCache::new(ByteSize::ZERO);
        let (made, go) = (AtomicUsize::new(0), Notify::new());
        let make = || async {
            made.fetch_add(1, Ordering::Relaxed);
            go.notified().await;
            Ok(7)
        };
        let one = cache.get_or_make(key(1), make);
        let two = cache.get_or_make(key(1), make);
        let (one, two, ()) = tokio::join!(one, two, async { go.notify_waiters() });
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(!one.unwrap().1 && two.unwrap().1);
    }

    #[tokio::test]
    async fn who_waits_takes_over_from_who_is_cancelled_or_fails() {
        let cache = CompileCache::new(ByteSize::mib(1));
        let cancelled = cache.get_or_make(key(1), std::future::pending);
        let (failed, made) = tokio::join!(
            cache.get_or_make(key(2), || async { Err(Error::new(ErrorKind::Busy, "no room")) }),
            cache.get_or_make(key(2), || async { Ok(1) }),
        );
        assert!(failed.is_err());
        assert_eq!(*made.unwrap().0, 1);
        tokio::select! {
            biased;
            _ = cancelled => unreachable!(),
            () = tokio::task::yield_now() => {}
        }
        assert!(!ask(&cache, 1, 1).await);
        assert!(cache.state().flights.len() <= 1, "ended flights are swept");
    }

    proptest! {
        #[test]
        fn it_never_keeps_more_than_it_may(asked in prop::collection::vec((0..6_u8, 1..9_u64), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let cache = CompileCache::new(ByteSize::bytes(16));
            for (number, weight) in asked {
                runtime.block_on(ask(&cache, number, weight));
                let state = cache.state();
                let weight: u64 = state.kept.values().map(|kept| kept.weight).sum();
                prop_assert_eq!(weight, state.weight);
                prop_assert!(weight <= 16);
                prop_assert_eq!(state.by_use.len(), state.kept.len());
            }
        }
    }
}
