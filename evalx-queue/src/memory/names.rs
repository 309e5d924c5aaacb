//! [`Names`]: names that many jobs share, each kept once with what is counted by it.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use foldhash::fast::RandomState;
use slab::Slab;

/// A name, and what is counted by it.
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) name: Arc<str>,
    /// How many jobs bear it.
    bearers: usize,
    pub(super) data: T,
}

/// Names, found by the number that a job carries in their place.
#[derive(Debug)]
pub(super) struct Names<T> {
    numbers: HashMap<Arc<str>, usize, RandomState>,
    entries: Slab<Named<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), entries: Slab::new() }
    }
}

impl<T: Default> Names<T> {
    /// The number of a name, if some job bears it.
    pub(super) fn get(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The number of a name that one more job bears.
    pub(super) fn adopt(&mut self, name: &str) -> usize {
        if let Some(number) = self.get(name) {
            self.entries[number].bearers += 1;
            return number;
        }
        let name: Arc<str> = name.into();
        let entry = Named { name: Arc::clone(&name), bearers: 1, data: T::default() };
        let number = self.entries.insert(entry);
        self.numbers.insert(name, number);
        number
    }

    /// One job less bears the name of this number.
    pub(super) fn drop_one(&mut self, number: usize) {
        let entry = &mut self.entries[number];
        entry.bearers -= 1;
        if entry.bearers == 0 {
            let entry = self.entries.remove(number);
            self.numbers.remove(&entry.name);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Named<T>> {
        self.entries.iter().map(|(_, entry)| entry)
    }
}

impl<T> Index<usize> for Names<T> {
    type Output = Named<T>;

    fn index(&self, number: usize) -> &Named<T> {
        &self.entries[number]
    }
}

impl<T> IndexMut<usize> for Names<T> {
    fn index_mut(&mut self, number: usize) -> &mut Named<T> {
        &mut self.entries[number]
    }
}
