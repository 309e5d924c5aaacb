//! What the host has sent once, to be placed in any number of sessions.
//!
//! It is in the supervisor's own memory, which no program can reach: what a
//! session gets is a copy, and what it does to that is its own matter.

use std::collections::HashMap;

/// Contents by the numbers that the host has given them.
#[derive(Debug, Default)]
pub(crate) struct Store {
    files: HashMap<u64, Vec<u8>>,
    /// What is on its way, and how long it will be.
    coming: Option<(u64, Vec<u8>, usize)>,
}

impl Store {
    /// Begins to keep a file of this size.
    pub(crate) fn begin(&mut self, id: u64, size: u64) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.coming = Some((id, Vec::new(), size));
        self.settle();
    }

    /// Takes a piece, if it is one of a file that is to be kept.
    pub(crate) fn take(&mut self, piece: &[u8]) -> bool {
        let Some((_, contents, _)) = &mut self.coming else { return false };
        contents.extend_from_slice(piece);
        self.settle();
        true
    }

    fn settle(&mut self) {
        if let Some((id, contents, _)) = self.coming.take_if(|(_, contents, size)| contents.len() >= *size) {
            self.files.insert(id, contents);
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&[u8]> {
        self.files.get(&id).map(Vec::as_slice)
    }

    pub(crate) fn forget(&mut self, id: u64) {
        self.files.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_kept_until_it_is_forgotten() {
        let mut store = Store::default();
        assert!(!store.take(b"of something else"));
        store.begin(1, 4);
        assert!(store.take(b"ab") && store.get(1).is_none());
        assert!(store.take(b"cd"));
        assert_eq!(store.get(1), Some(&b"abcd"[..]));
        store.begin(2, 0);
        assert_eq!(store.get(2), Some(&b""[..]));
        assert!(!store.take(b"of something else"));
        store.forget(1);
        assert_eq!(store.get(1), None);
    }
}
