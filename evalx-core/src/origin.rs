//! [`Origin`]: which sessions run programs of one and the same hand.

use std::sync::{Arc, Weak};

/// Whose programs a session runs, as far as they must be kept apart.
///
/// Sessions of one origin run what one submission brought: a backend may serve
/// them one after the other with what is dear to make, such as a container,
/// resetting it between them, and throws it away once the origin is gone.
/// Sessions of two origins, or of none, share nothing that a program could
/// have got hold of.
///
/// ```
/// use evalx_core::{Limits, Origin, SessionSpec};
///
/// let submission = Origin::new();
/// let compile = SessionSpec::new(Limits::for_compiling()).with_origin(submission.clone());
/// let test = SessionSpec::new(Limits::default()).with_origin(submission);
/// assert_eq!(compile.origin, test.origin);
/// assert_ne!(test.origin, Some(Origin::new()));
/// ```
#[derive(Clone, Debug)]
pub struct Origin(Arc<()>);

impl Origin {
    /// An origin that is no other.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(()))
    }

    /// A handle that tells when the origin is gone.
    #[must_use]
    pub fn downgrade(&self) -> WeakOrigin {
        WeakOrigin(Arc::downgrade(&self.0))
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Origin {}

/// Knows whether more sessions of an [`Origin`] may come.
#[derive(Clone, Debug)]
pub struct WeakOrigin(Weak<()>);

impl WeakOrigin {
    /// Whether nobody can open a session of it any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, origin: &Origin) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&origin.0))
    }

    /// Whether both are of one origin.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_gone_with_its_last_clone() {
        let origin = Origin::new();
        let (weak, clone) = (origin.downgrade(), origin.clone());
        assert!(weak.is(&clone) && !weak.is(&Origin::new()));
        drop(origin);
        assert!(!weak.is_gone());
        drop(clone);
        assert!(weak.is_gone());
    }
}
