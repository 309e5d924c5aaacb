//! [`Store`]: which artifacts an agent keeps, so that they are not sent again for
//! each session that its container serves.

use std::collections::VecDeque;

use evalx_core::{Artifact, WeakArtifact};

/// What a file takes besides its contents.
const FILE: usize = 256;

/// What one agent keeps, by the numbers that it was told.
#[derive(Debug)]
pub(crate) struct Store {
    /// Bytes that may be kept.
    most: usize,
    /// The longest kept comes first.
    kept: VecDeque<Kept>,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    artifact: WeakArtifact,
    /// The number of its first file; the others follow.
    first: u64,
    files: u64,
    size: usize,
}

/// An artifact that is to be kept from now on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The number of its first file; the others follow.
    pub(crate) first: u64,
    /// Numbers that are to be forgotten before it is sent.
    pub(crate) forgotten: Vec<u64>,
}

impl Store {
    /// An agent that keeps nothing yet, and at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: VecDeque::new(), next: 0 }
    }

    /// The number of the first file of an artifact that is kept.
    pub(crate) fn find(&self, artifact: &Artifact) -> Option<u64> {
        self.kept.iter().find(|kept| kept.artifact.is(artifact)).map(|kept| kept.first)
    }

    /// Makes room for an artifact and notes it as kept; none if it is too large.
    pub(crate) fn admit(&mut self, artifact: &Artifact) -> Option<Admitted> {
        let sizes = artifact.files().iter().map(|file| file.contents.len().saturating_add(FILE));
        let size = sizes.fold(0, usize::saturating_add);
        if size > self.most {
            return None;
        }
        // What nobody can ask for again goes first, then what was kept longest.
        let mut forgotten = self.forget_if(|kept, _| kept.artifact.is_gone());
        let most = self.most - size;
        forgotten.extend(self.forget_if(|_, total| total > most));
        let (first, files) = (self.next, artifact.files().len() as u64);
        self.next += files;
        self.kept.push_back(Kept { artifact: artifact.downgrade(), first, files, size });
        Some(Admitted { first, forgotten })
    }

    /// Forgets what `is_over` says, in the order in which it was kept; it is
    /// told how many bytes are kept at that moment. Gives the files' numbers.
    fn forget_if(&mut self, is_over: impl Fn(&Kept, usize) -> bool) -> Vec<u64> {
        let mut total: usize = self.kept.iter().map(|kept| kept.size).sum();
        let mut forgotten = Vec::new();
        self.kept.retain(|kept| {
            let over = is_over(kept, total);
            if over {
                total -= kept.size;
                forgotten.extend(kept.first..kept.first + kept.files);
            }
            !over
        });
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(size: usize) -> Artifact {
        Artifact::executable(vec![0; size - FILE])
    }

    #[test]
    fn an_artifact_is_kept_until_it_is_gone_or_others_need_its_room() {
        let mut store = Store::new(4000);
        let (one, two, three) = (artifact(1000), artifact(2000), artifact(1500));
        assert_eq!(store.find(&one), None);
        assert_eq!(store.admit(&one), Some(Admitted { first: 0, forgotten: vec![] }));
        assert_eq!(store.find(&one.clone()), Some(0));
        assert_eq!(store.admit(&two), Some(Admitted { first: 1, forgotten: vec![] }));
        // The oldest makes room.
        assert_eq!(store.admit(&three), Some(Admitted { first: 2, forgotten: vec![0] }));
        assert_eq!((store.find(&one), store.find(&two), store.find(&three)), (None, Some(1), Some(2)));
        drop(three);
        assert_eq!(store.admit(&one), Some(Admitted { first: 3, forgotten: vec![2] }));
        assert_eq!(store.admit(&artifact(5000)), None);
        assert_eq!(Store::new(0).admit(&one), None);
    }
}
